"""Tables: cases by the thousand in, results out."""
