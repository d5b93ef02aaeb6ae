"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = new Map(data.cases.map((c) => [c.id, c]));
  const articles = [...document.querySelectorAll("article[data-case]")];
  const $ = (id) => document.getElementById(id);

  const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const tables = Object.fromEntries(Object.entries(data.colours).map(([n, t]) => [n, decode(t)]));
  const show = { colours: "viridis", opacity: 0.8, smooth: true, outlines: true, shared: false };
  const images = new Map();

  function picture(key) {
    if (!images.has(key)) {
      images.set(key, new Promise((done) => {
        const image = new Image();
        image.onload = () => done(image);
        image.src = data.images[key];
      }));
    }
    return images.get(key);
  }

  function element(name, options = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  // --- maps over pictures -------------------------------------------------------------------------

  function cells(fill, rows, cols) {
    const small = element("canvas", { width: cols, height: rows });
    const pen = small.getContext("2d");
    const pixels = pen.createImageData(cols, rows);
    fill(pixels.data);
    pen.putImageData(pixels, 0, 0);
    return small;
  }

  const values = new Map();
  function strengths(map) {
    if (!values.has(map)) values.set(map, decode(map.data));
    return values.get(map);
  }

  function heat(map, [rows, cols], top = map.top) {
    const table = tables[show.colours];
    const shares = strengths(map);
    // Maps to compare are drawn on one scale, so that paler means weaker.
    const scale = top ? map.peak / top : 1;
    return cells((out) => {
      for (let i = 0; i < shares.length; i += 1) {
        const v = Math.round(shares[i] * scale);
        out.set(table.subarray(3 * v, 3 * v + 3), 4 * i);
        out[4 * i + 3] = 255 * show.opacity * (v / 255) ** 0.8;
      }
    }, rows, cols);
  }

  function change(now, before, rows, cols) {
    const [p, q] = [strengths(now), strengths(before)];
    const moves = Array.from(p, (v, i) => (v * now.peak - q[i] * before.peak) / 255);
    // The scale is never finer than a tenth of the larger map, or noise would look like a change.
    const most = Math.max(...moves.map(Math.abs), 0.1 * Math.max(now.peak, before.peak), 1e-12);
    return cells((out) => moves.forEach((move, i) => {
      out.set(move > 0 ? [178, 24, 43] : [33, 102, 172], 4 * i);
      out[4 * i + 3] = 255 * 0.9 * (Math.abs(move) / most);
    }), rows, cols);
  }

  // Left, top, width and height of the grid on a picture drawn at this size.
  function gridBox([left, top, right, bottom], width, height) {
    return [left * width, top * height, (right - left) * width, (bottom - top) * height];
  }

  // Draw what the model does not see pale and hatched: this looks like no part of a map.
  function hatch(pen, image, seen, width, height, zoom) {
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width, height);
    pen.rect(...seen);
    pen.clip("evenodd");
    pen.filter = "grayscale(1)";
    pen.drawImage(image, 0, 0, width, height);
    pen.filter = "none";
    pen.fillStyle = "rgb(226 226 226 / 70%)";
    pen.fillRect(0, 0, width, height);
    pen.strokeStyle = "rgb(165 165 165)";
    pen.lineWidth = 1 / zoom;
    pen.beginPath();
    for (let at = 0; at < width + height; at += Math.max(6, width / 40)) { pen.moveTo(at, 0); pen.lineTo(at - height, height); }
    pen.stroke();
    pen.strokeStyle = "rgb(70 70 70)";
    pen.lineWidth = 2 / zoom; // half of it is clipped away
    pen.strokeRect(...seen);
    pen.restore();
  }

  function draw(canvas, image, layer, one, view, { grey = false, until = 1 } = {}) {
    const pen = canvas.getContext("2d");
    const { width, height } = canvas;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width * until, height);
    pen.clip();
    pen.clearRect(0, 0, width, height);
    pen.translate(-view.x * width * (view.zoom - 1), -view.y * height * (view.zoom - 1));
    pen.scale(view.zoom, view.zoom);
    pen.filter = grey ? "grayscale(1)" : "none";
    pen.imageSmoothingEnabled = true;
    pen.drawImage(image, 0, 0, width, height);
    pen.filter = "none";
    if (layer) {
      pen.imageSmoothingEnabled = show.smooth;
      pen.imageSmoothingQuality = "low";
      const seen = gridBox(one.view, width, height);
      pen.drawImage(layer, ...seen);
      if (!show.smooth) grid(pen, one.grid, seen, view.zoom);
      if (one.view[0] > 0 || one.view[1] > 0 || one.view[2] < 1 || one.view[3] < 1) hatch(pen, image, seen, width, height, view.zoom);
    }
    if (show.outlines) outlines(pen, one.regions, width, height, view.zoom);
    pen.restore();
  }

  function divide(canvas, at) {
    const pen = canvas.getContext("2d");
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      pen.fillStyle = colour;
      pen.fillRect(at * canvas.width - wide / 2, 0, wide, canvas.height);
    }
  }

  function grid(pen, [rows, cols], [x, y, width, height], zoom) {
    pen.strokeStyle = "rgb(255 255 255 / 35%)";
    pen.lineWidth = 1 / zoom;
    pen.beginPath();
    for (let c = 1; c < cols; c += 1) { pen.moveTo(x + (c * width) / cols, y); pen.lineTo(x + (c * width) / cols, y + height); }
    for (let r = 1; r < rows; r += 1) { pen.moveTo(x, y + (r * height) / rows); pen.lineTo(x + width, y + (r * height) / rows); }
    pen.stroke();
  }

  function outlines(pen, regions, width, height, zoom) {
    for (const boxes of Object.values(regions)) {
      for (const [left, top, right, bottom] of boxes) {
        for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
          pen.strokeStyle = colour;
          pen.lineWidth = wide / zoom;
          pen.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
        }
      }
    }
  }

  function canvasFor(one, wide, title) {
    const canvas = element("canvas", { width: wide, height: Math.max(1, Math.round((wide * one.size[1]) / one.size[0])) });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    return canvas;
  }

  // --- one case -----------------------------------------------------------------------------------

  const MODES = ["side by side", "blink", "swipe", "now alone"];
  const viewers = new Map();

  class Viewer {
    constructor(article, one) {
      Object.assign(this, { article, one, mode: one.baselines.length ? 0 : 3, at: 0, split: 0.5 });
      this.view = { zoom: 1, x: 0.5, y: 0.5 };
      this.blinking = false;
      this.host = article.querySelector(".view");
      this.build();
    }

    build() {
      const { one } = this;
      const pick = element("select", { "aria-label": `map of ${one.id}` });
      one.maps.forEach((map, i) => pick.append(element("option", { value: i, textContent: map.name })));
      pick.onchange = () => { this.at = Number(pick.value); this.arrange(); };
      this.pick = pick;
      this.buttons = MODES.map((name, i) => element("button", {
        type: "button", textContent: `${i + 1} ${name}`, onclick: () => this.setMode(i),
      }));
      const bar = element("div", { className: "bar" });
      if (one.maps.length > 1) bar.append(pick);
      if (one.baselines.length) bar.append(element("span", { className: "modes", role: "group", "aria-label": "mode" }, ...this.buttons));
      this.panels = element("div", { className: "strip" });
      this.readout = element("p", { className: "soft readout", textContent: "Point at a picture to read a cell; double-click to zoom." });
      this.host.replaceChildren(bar, this.panels, this.readout);
      for (const name of ["layers", "words"]) {
        const members = one.maps.filter((map) => map.strip === name);
        if (members.length > 1) this.host.append(this.strip(name, members));
      }
      this.arrange();
    }

    strip(name, members) {
      const wide = 130;
      const row = element("div", { className: "panels" });
      const play = element("button", { type: "button", textContent: "play" });
      const title = name === "layers" ? "Layer by layer, all on one colour scale" : "Word by word, each on its own colour scale";
      const box = element("details", { className: `strip-${name}` }, element("summary", { textContent: title }), play, row);
      const drawn = members.map((map) => {
        const canvas = canvasFor(this.one, wide, `heatmap of ${this.one.id}, ${map.name}`);
        const figure = element("figure", {}, element("button", {
          type: "button", className: "bare", onclick: () => this.choose(map),
        }, canvas), element("figcaption", { textContent: `${map.name}, peak ${percent(map.peak)}` }));
        row.append(figure);
        return [canvas, map, figure];
      });
      const redraw = async () => {
        if (!box.open) return;
        const image = await picture(this.one.image);
        for (const [canvas, map] of drawn) draw(canvas, image, heat(map, this.one.grid), this.one, this.view);
      };
      box.ontoggle = redraw;
      (this.strips ??= []).push(redraw);
      let timer = null;
      play.onclick = () => {
        if (timer) { clearInterval(timer); timer = null; play.textContent = "play"; return; }
        play.textContent = "stop";
        let next = 0;
        const step = () => {
          this.choose(members[next]);
          drawn.forEach(([, , figure], i) => figure.classList.toggle("now", i === next));
          next = (next + 1) % members.length;
        };
        step();
        timer = setInterval(step, 600);
      };
      return box;
    }

    choose(map) {
      this.at = this.one.maps.indexOf(map);
      this.pick.value = this.at;
      this.arrange();
    }

    setMode(mode) {
      if (!this.one.baselines.length) return;
      this.mode = mode;
      this.arrange();
    }

    arrange() {
      clearInterval(this.timer);
      const { one } = this;
      const now = one.maps[this.at];
      const before = now ? one.baselines.find((b) => b.of === now.name) : undefined;
      const mode = before ? this.mode : 3;
      this.buttons.forEach((button, i) => { button.setAttribute("aria-pressed", i === mode); button.disabled = !before; });
      const parts = [];
      if (mode === 0) parts.push(["baseline", before], ["now", now], ["now − baseline", "difference"]);
      else if (mode === 3) parts.push(["picture", null], ...(now ? [["now", now]] : []));
      else parts.push([MODES[mode], mode === 1 ? "blink" : "swipe"]);
      this.parts = parts.map(([title, what]) => {
        const canvas = canvasFor(one, 400, `${one.id}: ${one.state}, ${title}`);
        this.watch(canvas, what === null ? null : (what === before ? before : now));
        return { canvas, what, title, now, before };
      });
      this.panels.replaceChildren(...this.parts.map((p) => element("figure", {}, p.canvas, element("figcaption", { textContent: this.caption(p) }))));
      this.panels.classList.toggle("one", this.parts.length === 1);
      if (mode === 2) {
        const slider = element("input", { type: "range", min: 0, max: 100, value: this.split * 100, "aria-label": "baseline left, now right" });
        slider.oninput = () => { this.split = slider.value / 100; this.redraw(); };
        this.panels.firstChild.append(slider);
      }
      if (mode === 1) this.timer = setInterval(() => { this.blinking = !this.blinking; this.redraw(); }, 700);
      this.redraw();
    }

    caption({ what, title, now, before }) {
      if (what === "swipe") return "baseline left, now right";
      if (what === "blink") return "baseline and now in turn";
      if (what === "difference") return "now − baseline: red more, blue less";
      if (what === null) return title;
      return `${title}: ${now.name}, peak ${percent(what.peak)}`;
    }

    async redraw() {
      const image = await picture(this.one.image);
      const { one, view } = this;
      for (const { canvas, what, now, before } of this.parts) {
        const top = before && show.shared ? Math.max(now.peak, before.peak) : now?.top;
        const warm = (map) => heat(map, one.grid, top);
        if (what === null) draw(canvas, image, null, one, view);
        else if (what === "difference") draw(canvas, image, change(now, before, ...one.grid), one, view, { grey: true });
        else if (what === "blink") draw(canvas, image, warm(this.blinking ? before : now), one, view);
        else if (what === "swipe") {
          draw(canvas, image, warm(now), one, view);
          draw(canvas, image, warm(before), one, view, { until: this.split });
          divide(canvas, this.split);
        } else draw(canvas, image, warm(what), one, view);
      }
      this.article.dataset.drawn = String(Number(this.article.dataset.drawn ?? 0) + 1);
      (this.strips ?? []).forEach((redraw) => redraw());
    }

    watch(canvas, map) {
      const { one, view } = this;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        return [view.x, view.y].map((centre, i) => Math.min(0.999, Math.max(0, (at[i] + centre * (view.zoom - 1)) / view.zoom)));
      };
      canvas.onpointermove = (event) => {
        const [x, y] = place(event);
        const [rows, cols] = one.grid;
        const [left, top, right, bottom] = one.view;
        const [row, col] = [Math.floor((y - top) / (bottom - top) * rows), Math.floor((x - left) / (right - left) * cols)];
        const [w, h] = one.size;
        if (row < 0 || col < 0 || row >= rows || col >= cols) {
          this.readout.textContent = `pixel ${Math.floor(x * w)}, ${Math.floor(y * h)}: the model does not see this part of the picture`;
          return;
        }
        const across = (c) => Math.round(Math.min(1, Math.max(0, left + c / cols * (right - left))) * w);
        const down = (r) => Math.round(Math.min(1, Math.max(0, top + r / rows * (bottom - top))) * h);
        const box = [across(col), down(row), across(col + 1), down(row + 1)];
        const share = map ? `: ${percent(strengths(map)[row * cols + col] / 255 * map.peak)} of ${map.name}` : "";
        this.readout.textContent = `row ${row + 1}, column ${col + 1} of ${rows} × ${cols}${share}; pixels ${box[0]}–${box[2]} × ${box[1]}–${box[3]}`;
      };
      canvas.ondblclick = (event) => {
        const [x, y] = place(event);
        Object.assign(view, view.zoom > 1 ? { zoom: 1, x: 0.5, y: 0.5 } : { zoom: 3, x, y });
        this.redraw();
      };
    }
  }

  const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

  async function small(host, one, map, title) {
    const canvas = canvasFor(one, 220, `${one.id}: ${title}`);
    host.replaceChildren(canvas);
    const image = await picture(one.image);
    draw(canvas, image, map ? heat(map, one.grid) : null, one, { zoom: 1, x: 0.5, y: 0.5 });
  }

  async function thumbnail(article, one) {
    await small(article.querySelector(".view"), one, one.maps[0], `${one.state}, heatmap`);
    article.dataset.drawn = "1";
  }

  // A case's variants beside it, or beside a variant its case and where the case's map would be.
  function family(article) {
    for (const host of article.querySelectorAll("[data-member]")) {
      const member = byId.get(host.dataset.member);
      const one = host.dataset.map === "original" ? member.original : member;
      const moved = host.dataset.map === "moved" && one.maps.find((map) => map.strip === "follows");
      if (one.image) small(host, one, moved || one.maps[0], moved ? moved.name : `${one.state}, heatmap`);
    }
  }

  function open(article) {
    const one = byId.get(article.dataset.case);
    if (article.dataset.opened || !one.image) return;
    article.dataset.opened = "1";
    family(article);
    if (one.full) viewers.set(article, new Viewer(article, one));
    else thumbnail(article, one);
  }

  const near = new IntersectionObserver((seen) => seen.filter((s) => s.isIntersecting).forEach((s) => open(s.target)), { rootMargin: "600px" });
  articles.forEach((article) => near.observe(article));
  window.addEventListener("beforeprint", () => articles.forEach(open));

  function redrawAll() {
    viewers.forEach((viewer) => viewer.redraw());
    articles.filter((a) => a.dataset.opened && !viewers.has(a)).forEach((a) => thumbnail(a, byId.get(a.dataset.case)));
    articles.filter((a) => a.dataset.opened).forEach(family);
  }
  $("opacity").oninput = (event) => { show.opacity = event.target.value / 100; redrawAll(); };
  $("colours").onchange = (event) => { show.colours = event.target.value; redrawAll(); };
  $("smooth").onchange = (event) => { show.smooth = event.target.checked; redrawAll(); };
  $("shared").onchange = (event) => { show.shared = event.target.checked; redrawAll(); };
  $("outlines").onchange = (event) => { show.outlines = event.target.checked; redrawAll(); };

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
    $("shown").textContent = `${shown().length} of ${articles.length} shown`;
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

  // --- the review ---------------------------------------------------------------------------------

  const stored = `audit:${data.run}`;
  let decisions = {};
  try { decisions = JSON.parse(localStorage.getItem(stored)) ?? {}; } catch { decisions = {}; }

  function keep() {
    try { localStorage.setItem(stored, JSON.stringify(decisions)); } catch { $("told").textContent = "This browser cannot keep your review: export it before you close the page."; }
    tell();
  }

  function decide(one, decision, reason) {
    if (!one.decidable) return;
    if (decision) decisions[one.id] = { decision, reason };
    else delete decisions[one.id];
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
    $("told").textContent = `${accepted} accepted, ${made.length - accepted} rejected, ${open} undecided`;
    $("export").disabled = !made.length;
  }

  for (const article of articles) {
    const one = byId.get(article.dataset.case);
    const field = article.querySelector("input[data-reason]");
    if (field && decisions[one.id]) field.value = decisions[one.id].reason;
    if (field) field.onchange = () => { if (decisions[one.id]) { decisions[one.id].reason = field.value; keep(); } };
    article.querySelectorAll("button[data-decide]").forEach((button) => {
      button.onclick = () => {
        const same = decisions[one.id]?.decision === button.dataset.decide;
        decide(one, same ? "" : button.dataset.decide, field.value);
        keep();
      };
    });
  }
  for (const decision of ["accept", "reject"]) {
    $(`${decision}-shown`).onclick = () => {
      const reason = $("reason-shown").value;
      for (const article of shown()) {
        const one = byId.get(article.dataset.case);
        if (!one.failed) continue;
        decide(one, decision, reason);
        const field = article.querySelector("input[data-reason]");
        if (field) field.value = reason;
      }
      keep();
    };
  }
  $("forget").onclick = () => { decisions = {}; keep(); };
  $("export").onclick = () => {
    const made = Object.keys(decisions).filter((id) => byId.has(id)).sort();
    const review = { format: 1, run: data.run, decisions: made.map((id) => ({ case: id, ...decisions[id] })) };
    const link = element("a", {
      href: URL.createObjectURL(new Blob([`${JSON.stringify(review, null, 2)}\n`], { type: "application/json" })),
      download: "decisions.json",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // --- over all cases -----------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  function svg(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  }

  $("plots").ontoggle = () => {
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
      const at = (ratio) => 150 + 30 * Math.max(-4.6, Math.min(4.6, ratio));
      const plot = svg("svg", { viewBox: "0 0 300 34", role: "img", "aria-label": `${figure}: ${counted(points.length, "case")}` },
        svg("rect", { x: at(-1), y: 4, width: 60, height: 22, class: "within" }),
        svg("line", { x1: 150, x2: 150, y1: 4, y2: 26, class: "zero" }));
      points.forEach(([ratio, id], i) => {
        const dot = svg("circle", { cx: at(ratio), cy: 15 + 7 * Math.sin(i * 2.4), r: 2.6, class: Math.abs(ratio) > 1 ? "out" : "in" });
        const title = svg("title", {});
        title.textContent = `${id}: ${ratio.toFixed(2)} × the tolerance`;
        dot.append(title);
        dot.onclick = () => go($(`case-${id}`));
        plot.append(dot);
      });
      host.append(element("figure", {}, plot, element("figcaption", { textContent: figure })));
    }
    if (!host.children.length) host.append(element("p", { className: "soft", textContent: "No case was compared with a baseline." }));
  };

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
    $("flips").replaceChildren(`${out.length} of ${counted(all.length, "case")} would fail`, ...(out.length ? [": "] : []), ...out.flatMap(([value, one], i) => [
      i ? ", " : "", element("a", { href: `#case-${one.id}`, textContent: `${one.id} (${value.toPrecision(3)})` }),
    ]));
    const written = (value) => /^[\w-]+$/.test(value) ? value : JSON.stringify(value);
    const asked = Object.entries(data.asked[explore.figure.value]).map(([key, value]) => `${key}: ${written(value)}, `);
    $("yaml").textContent = `- {${asked.join("")}${explore.side.value}: ${limit}}`;
  }
  explore.figure.onchange = bounds;
  explore.side.onchange = flips;
  explore.limit.oninput = flips;
  $("copy").onclick = async () => {
    const text = $("yaml").textContent;
    try { await navigator.clipboard.writeText(text); } catch {
      getSelection().selectAllChildren($("yaml"));
      document.execCommand("copy");
    }
    $("copy").textContent = "copied";
    setTimeout(() => { $("copy").textContent = "copy"; }, 1500);
  };
  if (explore.figure.options.length) bounds();

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
      decide(one, decided, current.querySelector("input[data-reason]").value);
      keep();
      go(list[Math.min(at + 1, list.length - 1)]);
    } else if (/^[1-4]$/.test(event.key)) viewers.get(current)?.setMode(Number(event.key) - 1);
    else if (event.key === "/") $("search").focus();
    else if (event.key === "?") $("help").open = !$("help").open;
    else return;
    event.preventDefault();
  });

  const bar = document.querySelector("nav");
  const measure = () => {
    const sticky = getComputedStyle(bar).position === "sticky";
    document.documentElement.style.setProperty("--bar", `${sticky ? bar.offsetHeight + 6 : 6}px`);
  };
  new ResizeObserver(measure).observe(bar);
  filter();
  document.documentElement.dataset.ready = "1";
})();
