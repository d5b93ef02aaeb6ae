  // --- what words mean ----------------------------------------------------------------------------

  // Shown beside a word that is pointed at, tapped or reached by the keyboard; Escape hides it.
  const tip = $("tip");
  let explained = null;

  function explain(word) {
    const entry = $(word.hash.slice(1));
    if (!entry) return;
    hush();
    explained = word;
    tip.replaceChildren(element("b", { textContent: entry.querySelector("dt").textContent }), ` ${entry.querySelector("dd").textContent}`);
    tip.hidden = false;
    word.setAttribute("aria-describedby", "tip");
    const [box, mine] = [word.getBoundingClientRect(), tip.getBoundingClientRect()];
    const edge = document.documentElement.clientWidth - mine.width - 8;
    const below = box.bottom + 6 + mine.height <= innerHeight || box.top < mine.height + 6;
    tip.style.left = `${Math.max(8, Math.min(box.left, edge)) + scrollX}px`;
    tip.style.top = `${(below ? box.bottom + 6 : box.top - mine.height - 6) + scrollY}px`;
  }

  function hush() {
    explained?.removeAttribute("aria-describedby");
    explained = null;
    tip.hidden = true;
  }

  // A figure's name, which leads to its metric in the glossary.
  function termOf(figure) {
    const key = `metric-${figure.split(/[^a-z_]/)[0]}`;
    return $(key) ? element("a", { className: "term", href: `#${key}`, textContent: figure }) : figure;
  }

  const wordOf = (event) => event.target.closest?.("a.term");
  document.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse" && wordOf(event)) explain(wordOf(event)); });
  document.addEventListener("pointerout", (event) => {
    const left = wordOf(event) ?? event.target.closest?.("#tip");
    const to = event.relatedTarget;
    if (event.pointerType !== "mouse" || !left || (to && (tip.contains(to) || explained?.contains(to)))) return;
    if (explained !== document.activeElement) hush();
  });
  document.addEventListener("focusin", (event) => { if (wordOf(event)) explain(wordOf(event)); else hush(); });
  document.addEventListener("focusout", (event) => { if (wordOf(event)) hush(); });
  document.addEventListener("click", (event) => {
    const word = wordOf(event);
    if (word) {
      event.preventDefault();
      explain(word);
    } else if (!tip.contains(event.target)) hush();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });

