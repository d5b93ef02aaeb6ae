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
  const t = (text, values = {}) => filled(worded(text), (name) => values[name]).join("");

  // The words and values of a text in turn. In Chinese a space stands where Latin meets Han, and
  // nowhere between two Han: what is in its places, no translation can know.
  const LATIN_HAN = /^([\u3400-\u9fff][A-Za-z0-9]|[A-Za-z0-9%][\u3400-\u9fff])$/;
  const WIDE = /^[\u3400-\u9fff，。；：、（）“”]{2}$/;
  const seam = (a, space, b) => (LATIN_HAN.test(a + b) ? " " : WIDE.test(a + b) ? "" : space);
  function filled(text, value) {
    const parts = text.split(PLACE).map((part, i) => (i % 2 ? value(part) : part));
    if (language !== "zh") return parts;
    const read = (i) => String(parts[i]?.textContent ?? parts[i] ?? "");
    return parts.map((part, i) => {
      if (i % 2) return part;
      const before = read(i - 1).slice(-1), after = read(i + 1).slice(0, 1);
      const [, lead, inner, trail] = /^( *)(.*?)( *)$/s.exec(part);
      if (!inner) return seam(before, part, after);
      return seam(before, lead, inner[0]) + inner + seam(inner.at(-1), trail, after);
    });
  }
  const many = (one, more, number, values = {}) => t(number === 1 ? one : more, { number, ...values });

  function say() {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    // Those within others first: how a text is set depends on the values in it.
    for (const host of [...document.querySelectorAll("[data-t]")].reverse()) {
      const [english] = data.texts[host.dataset.t];
      host.valued ??= Object.fromEntries([...english.matchAll(PLACE)].map(([, name], i) => [name, host.children[i]]));
      host.replaceChildren(...filled(worded(english), (name) => host.valued[name]));
    }
    for (const host of document.querySelectorAll("[data-a]")) {
      const [name, number, ...value] = host.dataset.a.split("|");
      host.setAttribute(name, filled(worded(data.texts[number][0]), () => value.join("|")).join(""));
    }
    if (data.session) document.title = `audit: ${many("{number} case", "{number} cases", data.cases.length)}`;
    document.querySelectorAll("button[data-language]").forEach((b) => b.setAttribute("aria-pressed", b.dataset.language === language));
  }
  if (data.language === "auto") {
    if (language !== "en") say();
    document.querySelectorAll(".languages").forEach((bar) => { bar.hidden = false; });
  }

