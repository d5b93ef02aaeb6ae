  // --- over all cases -----------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  function svg(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  }

  const REACH = 5; // tolerances on either side of the axis
  const short = (ratio) => Math.abs(ratio) < 10 ? ratio.toFixed(1) : Math.abs(ratio) < 1e6 ? ratio.toFixed(0) : t("over a million");

  function plot() {
    const host = $("plots").querySelector(".plots");
    if (host.children.length) return;
    const figures = new Map();
    for (const one of data.cases) {
      for (const [figure, ratio] of Object.entries(one.ratios)) {
        if (!figures.has(figure)) figures.set(figure, []);
        figures.get(figure).push([ratio, one.id]);
      }
    }
    const spread = ([, points]) => Math.max(...points.map(([r]) => Math.abs(r)));
    for (const [figure, points] of [...figures].sort((a, b) => spread(b) - spread(a))) {
      const at = (ratio) => 150 + 28 * ratio;
      const beyond = points.filter(([ratio]) => Math.abs(ratio) > REACH).length;
      const furthest = spread([figure, points]);
      const far = { figure, far: short(furthest), CASES: many("{number} case", "{number} cases", points.length), number: beyond };
      const said = beyond
        ? t("{figure}: {CASES}, up to {far} tolerances away; {number} beyond the axis", far)
        : t("{figure}: {CASES}, up to {far} tolerances away", far);
      const plot = svg("svg", { viewBox: "0 0 300 46", role: "img", "aria-label": said },
        svg("rect", { x: at(-1), y: 2, width: 56, height: 24, class: "within" }),
        svg("line", { x1: at(0), x2: at(0), y1: 2, y2: 26, class: "zero" }),
        svg("line", { x1: at(-REACH), x2: at(REACH), y1: 28, y2: 28, class: "axis" }));
      for (let tick = -4; tick <= 4; tick += 2) {
        const label = svg("text", { x: at(tick), y: 42, "text-anchor": "middle" });
        label.textContent = String(tick).replace("-", "−");
        plot.append(svg("line", { x1: at(tick), x2: at(tick), y1: 28, y2: 31, class: "axis" }), label);
      }
      points.forEach(([ratio, id], i) => {
        const y = 14 + 8 * Math.sin(i * 2.4);
        const shape = Math.abs(ratio) > 1 ? "out" : "in";
        const end = Math.sign(ratio);
        const dot = Math.abs(ratio) > REACH
          ? svg("path", { d: `M${at(end * REACH) + 5 * end} ${y} l${-6 * end} -4 v8 z`, class: "out beyond" })
          : svg("circle", { cx: at(ratio), cy: y, r: 2.6, class: shape });
        const title = svg("title", {});
        title.textContent = t("{case}: {times} × the tolerance", { case: id, times: short(ratio) });
        dot.append(title);
        dot.onclick = () => go($(`case-${id}`));
        plot.append(dot);
      });
      host.append(element("figure", {}, plot, element("figcaption", {}, termOf(figure), ...(beyond ? [t(": {number} beyond the axis, up to {far} tolerances", far)] : []))));
    }
    if (!host.children.length) host.append(element("p", { className: "soft", textContent: t("No case was compared with a baseline.") }));
  }
  $("plots").ontoggle = plot;

  const explore = { figure: $("figure"), side: $("side"), limit: $("limit") };
  function known() {
    const { value } = explore.figure;
    return data.cases.filter((c) => typeof c.figures[value] === "number").map((c) => [c.figures[value], c]);
  }
  function bounds() {
    const found = known().map(([value]) => value);
    if (!found.length) return;
    const [low, high] = [Math.min(...found), Math.max(...found)];
    Object.assign(explore.limit, { min: low, max: high, step: (high - low) / 200 || 0.001, value: (low + high) / 2 });
    flips();
  }
  function flips() {
    const limit = Number(Number(explore.limit.value).toPrecision(4));
    const low = explore.side.value === "min";
    const all = known();
    const out = all.filter(([value]) => (low ? value < limit : value > limit)).sort(([a], [b]) => a - b);
    $("limit-said").textContent = String(limit);
    const found = { number: out.length, CASES: many("{number} case", "{number} cases", all.length) };
    const told = out.length ? t("{number} of {CASES} would fail: {names}", { ...found, names: "" }) : t("{number} of {CASES} would fail", found);
    $("flips").replaceChildren(told, ...out.flatMap(([value, one], i) => [
      i ? ", " : "", element("a", { href: `#case-${one.id}`, textContent: `${one.id} (${value.toPrecision(3)})` }),
    ]));
    // Words are plain, but for those that YAML reads as something else than a text.
    const words = (value) => /^[A-Za-z][\w-]*$/.test(value) && !/^(true|false|null|yes|no|on|off)$/i.test(value);
    const written = (value) => typeof value === "string" && words(value) ? value : JSON.stringify(value);
    const asked = Object.entries(data.asked[explore.figure.value]).map(([key, value]) => `${key}: ${written(value)}, `);
    $("yaml").textContent = `- {${asked.join("")}${explore.side.value}: ${limit}}`;
  }
  explore.figure.onchange = bounds;
  explore.side.onchange = flips;
  explore.limit.oninput = flips;
  const copying = [...$("copy").childNodes];
  $("copy").onclick = async () => {
    const text = $("yaml").textContent;
    try { await navigator.clipboard.writeText(text); } catch {
      getSelection().selectAllChildren($("yaml"));
      document.execCommand("copy");
    }
    $("copy").textContent = t("copied");
    setTimeout(() => $("copy").replaceChildren(...copying), 1500);
  };
  if (explore.figure.options.length) bounds();

