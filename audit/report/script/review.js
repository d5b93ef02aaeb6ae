  // --- the review ---------------------------------------------------------------------------------

  const stored = `audit:${data.run}`;
  const signed = "audit:reviewer";
  // Without a prototype: a case may be called "constructor", and nobody has decided about that one.
  const none = () => Object.create(null);
  let decisions = none();
  try { Object.assign(decisions, JSON.parse(localStorage.getItem(stored))); } catch { decisions = none(); }
  try { $("reviewer").value = localStorage.getItem(signed) ?? ""; } catch { /* nothing is kept here */ }

  const articleOf = new Map(articles.map((article) => [article.dataset.case, article]));

  function keep() {
    let kept = true;
    try { localStorage.setItem(stored, JSON.stringify(decisions)); } catch { kept = false; }
    tell();
    if (!kept) $("told").textContent = t("This browser cannot keep your review: export it before you close the page.");
  }

  // Returns whether it was decided: to accept a broken contract, a reason is needed.
  function decide(one, decision, reason) {
    if (!one.decidable) return false;
    const missing = decision === "accept" && one.broken && !reason.trim();
    ask(one, missing);
    if (missing) return false;
    if (decision) decisions[one.id] = { decision, reason, time: new Date().toISOString() };
    else delete decisions[one.id];
    return true;
  }

  function ask(one, missing) {
    const article = articleOf.get(one.id);
    article.querySelector(".ask").textContent = missing ? t("Say why first: accepting does not mend the broken contract.") : "";
    article.querySelector("input[data-reason]").setAttribute("aria-invalid", missing);
    article.dataset.asked = missing ? "1" : "";
  }

  function tell() {
    for (const article of articles) {
      const one = byId.get(article.dataset.case);
      const mine = decisions[one.id];
      article.dataset.decision = mine ? mine.decision : "";
      article.querySelectorAll("button[data-decide]").forEach((b) => b.setAttribute("aria-pressed", mine?.decision === b.dataset.decide));
    }
    const made = Object.values(decisions);
    const accepted = made.filter((d) => d.decision === "accept").length;
    const open = data.cases.filter((c) => c.decidable && c.failed && !decisions[c.id]).length;
    $("told").textContent = t("{accepted} accepted, {rejected} rejected, {open} undecided", { accepted, rejected: made.length - accepted, open });
    $("export").disabled = !made.length;
  }

  for (const article of articles) {
    const one = byId.get(article.dataset.case);
    const field = article.querySelector("input[data-reason]");
    if (!field) continue;
    if (decisions[one.id]) field.value = decisions[one.id].reason;
    // Who was asked for a reason types it and presses accept again. Leaving the field has accepted
    // already; this press means the same and must not take it back.
    let answered = false;
    field.onchange = () => {
      const made = decisions[one.id];
      if (article.dataset.asked) answered = decide(one, "accept", field.value);
      else if (made && !decide(one, made.decision, field.value)) delete decisions[one.id];
      keep();
    };
    article.querySelectorAll("button[data-decide]").forEach((button) => {
      button.onclick = () => {
        const same = !answered && decisions[one.id]?.decision === button.dataset.decide;
        answered = false;
        if (!decide(one, same ? "" : button.dataset.decide, field.value)) field.focus();
        keep();
      };
    });
  }
  for (const decision of ["accept", "reject"]) {
    $(`${decision}-shown`).onclick = () => {
      const given = $("reason-shown").value;
      let without = 0;
      for (const article of shown()) {
        const one = byId.get(article.dataset.case);
        const field = article.querySelector("input[data-reason]");
        if (!one.failed || !field) continue;
        if (given) field.value = given;
        if (!decide(one, decision, field.value)) without += 1;
      }
      keep();
      if (without) $("told").textContent += many("; {number} broken contract without a reason", "; {number} broken contracts without a reason", without);
    };
  }
  $("reviewer").onchange = () => {
    try { localStorage.setItem(signed, $("reviewer").value.trim()); } catch { /* asked again */ }
    $("reviewer").removeAttribute("aria-invalid");
  };
  $("forget").onclick = () => { decisions = none(); keep(); };
  $("export").onclick = () => {
    const reviewer = $("reviewer").value.trim();
    if (!reviewer) {
      $("reviewer").setAttribute("aria-invalid", true);
      $("told").textContent = t("Say who reviews: the name is kept with your decisions.");
      $("reviewer").focus();
      return;
    }
    const made = Object.keys(decisions).filter((id) => byId.has(id)).sort();
    const review = { format: 2, run: data.run, decisions: made.map((id) => ({ case: id, ...decisions[id], reviewer })) };
    const name = reviewer.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    const link = element("a", {
      href: URL.createObjectURL(new Blob([`${JSON.stringify(review, null, 2)}\n`], { type: "application/json" })),
      download: name ? `decisions-${name}.json` : "decisions.json",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    $("told").textContent = t("Written as {file}. Send it back to whoever sent you this page.", { file: link.download });
  };

