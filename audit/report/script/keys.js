  // --- the keyboard -------------------------------------------------------------------------------

  let current = null;
  function go(article) {
    if (!article) return;
    current?.classList.remove("current");
    current = article;
    article.classList.add("current");
    open(article);
    article.focus({ preventScroll: true });
    article.scrollIntoView({ block: "start" });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=range],[type=checkbox]), select, textarea");
    if (typing && event.key === "Escape") event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const list = shown();
    const at = list.indexOf(current);
    const one = current && byId.get(current.dataset.case);
    const decided = { a: "accept", r: "reject" }[event.key];
    if (event.key === "j") go(list[Math.min(at + 1, list.length - 1)]);
    else if (event.key === "k") go(list[Math.max(at - 1, 0)]);
    else if (decided && one?.decidable) {
      const field = current.querySelector("input[data-reason]");
      const done = decide(one, decided, field.value);
      keep();
      if (done) go(list[Math.min(at + 1, list.length - 1)]);
      else field.focus();
    } else if (/^[1-4]$/.test(event.key)) viewers.get(current)?.setMode(Number(event.key) - 1);
    else if (event.key === "/") $("search").focus();
    else if (event.key === "?") {
      $("help").open = !$("help").open;
      if ($("help").open) $("help").scrollIntoView({ block: "center" });
    }
    else return;
    event.preventDefault();
  });

  // On a phone the filters would stand between the verdict and the cases.
  const narrow = matchMedia("(max-width: 700px)").matches;
  $("filters").open = !narrow;
  if ($("how")) $("how").open = !narrow && !$("reviewer").value; // who has reviewed before knows it
  const bar = document.querySelector("nav");
  const measure = () => {
    const sticky = getComputedStyle(bar).position === "sticky";
    document.documentElement.style.setProperty("--bar", `${sticky ? bar.offsetHeight + 6 : 6}px`);
  };
  new ResizeObserver(measure).observe(bar);

  function speak(chose) {
    language = chose;
    try { localStorage.setItem(chosen, language); } catch { /* asked again */ }
    say();
    viewers.forEach((viewer) => viewer.build());
    redrawAll();
    hush();
    filter();
    articles.filter((a) => a.dataset.asked).forEach((a) => ask(byId.get(a.dataset.case), true));
    if (explore.figure.options.length) flips();
    $("plots").querySelector(".plots").replaceChildren();
    if ($("plots").open) plot();
  }
  document.querySelectorAll("button[data-language]").forEach((b) => { b.onclick = () => speak(b.dataset.language); });

  filter();
  document.documentElement.dataset.ready = "1";
