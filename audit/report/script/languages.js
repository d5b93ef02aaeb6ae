  // --- the language of the page -------------------------------------------------------------------

  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const chinese = new Map(data.texts);
  const chosen = "audit:language";

  function preferred() {
    if (data.language !== "auto") return data.language;
    let kept = null;
    try { kept = localStorage.getItem(chosen); } catch { /* nothing is kept here */ }
    if (kept === "en" || kept === "zh") return kept;
    const first = navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag === "en" || tag === "zh");
    return first ?? "en";
  }
  let language = preferred();

  // A text with its values; `data-t` and `data-a` give those of the page by their number.
  const PLACE = /\*?\{(\w+)\}\*?/g;
  const worded = (text) => (language === "zh" && chinese.get(text)) || text;
  const t = (text, values = {}) => worded(text).replace(PLACE, (_, name) => values[name]);
  const many = (one, more, number, values = {}) => t(number === 1 ? one : more, { number, ...values });

  function say() {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    for (const host of document.querySelectorAll("[data-t]")) {
      const [english] = data.texts[host.dataset.t];
      host.valued ??= Object.fromEntries([...english.matchAll(PLACE)].map(([, name], i) => [name, host.children[i]]));
      const parts = worded(english).split(PLACE);
      host.replaceChildren(...parts.map((part, i) => (i % 2 ? host.valued[part] : part)));
    }
    for (const host of document.querySelectorAll("[data-a]")) {
      const [name, number, ...value] = host.dataset.a.split("|");
      host.setAttribute(name, worded(data.texts[number][0]).replace(PLACE, () => value.join("|")));
    }
    if (data.session) document.title = `audit: ${many("{number} case", "{number} cases", data.cases.length)}`;
    document.querySelectorAll("button[data-language]").forEach((b) => b.setAttribute("aria-pressed", b.dataset.language === language));
  }
  if (data.language === "auto") {
    if (language !== "en") say();
    document.querySelectorAll(".languages").forEach((bar) => { bar.hidden = false; });
  }

