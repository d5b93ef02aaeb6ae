  // --- which cases are shown ----------------------------------------------------------------------

  const shown = () => articles.filter((article) => !article.hidden);

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const states = new Set([...document.querySelectorAll("button[data-state][aria-pressed=true]")].map((b) => b.dataset.state));
    const [label, tag, metric] = ["label", "tag", "metric"].map((name) => $(name).value);
    for (const article of articles) {
      const one = byId.get(article.dataset.case);
      const text = `${one.id} ${one.text} ${one.premise ?? ""} ${one.tags.join(" ")}`.toLowerCase();
      article.hidden = !(
        (!states.size || states.has(one.state))
        && (!label || one.expected === label)
        && (!tag || one.tags.includes(tag))
        && (!metric || one.moved.includes(metric))
        && words.every((word) => text.includes(word))
      );
    }
    const order = $("sort").value;
    for (const section of document.querySelectorAll("section[data-list]")) {
      const list = section.querySelector(".list");
      const mine = [...list.children].sort((a, b) => {
        const [x, y] = [byId.get(a.dataset.case), byId.get(b.dataset.case)];
        if (order === "name") return x.id.localeCompare(y.id);
        if (order === "drift") return y.drift - x.drift || x.place - y.place;
        return x.place - y.place;
      });
      if (mine.some((article, i) => article !== list.children[i])) list.append(...mine);
      section.hidden = mine.every((article) => article.hidden);
    }
    $("shown").textContent = t("{number} of {all} shown", { number: shown().length, all: articles.length });
    tell();
  }
  for (const id of ["label", "tag", "metric", "sort"]) $(id).onchange = filter;
  $("search").oninput = filter;
  document.querySelectorAll("button[data-state]").forEach((button) => {
    button.onclick = () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    };
  });

