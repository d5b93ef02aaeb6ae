  // --- one case -----------------------------------------------------------------------------------

  const modes = () => [t("side by side"), t("blink"), t("swipe"), t("now alone")];

  function nameOf(map) {
    const [kind, ...rest] = map.name.split(" ");
    if (map.strip === "layers" && kind === "layer") return t("layer {number}", { number: rest.join(" ") });
    if (map.strip === "words" && kind === "word") return t("word {word}", { word: rest.join(" ") });
    return map.strip === "follows" ? t("the case's map, moved here") : map.name;
  }
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
      const open = [...this.host.querySelectorAll("details[open]")].map((box) => box.className);
      clearInterval(this.playing);
      this.strips = [];
      const pick = element("select", { "aria-label": t("map of {case}", { case: one.id }) });
      one.maps.forEach((map, i) => pick.append(element("option", { value: i, textContent: nameOf(map) })));
      pick.value = this.at;
      pick.onchange = () => { this.at = Number(pick.value); this.arrange(); };
      this.pick = pick;
      this.buttons = modes().map((name, i) => element("button", {
        type: "button", textContent: `${i + 1} ${name}`, onclick: () => this.setMode(i),
      }));
      const bar = element("div", { className: "bar" });
      if (one.maps.length > 1) bar.append(pick);
      if (one.baselines.length) bar.append(element("span", { className: "modes", role: "group", "aria-label": t("mode") }, ...this.buttons));
      this.panels = element("div", { className: "strip" });
      this.readout = element("p", { className: "soft readout", textContent: t("Point at a picture to read a cell; double-click to zoom.") });
      this.host.replaceChildren(bar, this.panels, this.readout);
      for (const name of ["layers", "words"]) {
        const members = one.maps.filter((map) => map.strip === name);
        if (members.length > 1) this.host.append(this.strip(name, members));
      }
      this.host.querySelectorAll("details").forEach((box) => { box.open = open.includes(box.className); });
      this.arrange();
    }

    strip(name, members) {
      const wide = 130;
      const row = element("div", { className: "panels" });
      const play = element("button", { type: "button", textContent: t("play") });
      const title = name === "layers" ? t("Layer by layer, all on one colour scale") : t("Word by word, each on its own colour scale");
      const box = element("details", { className: `strip-${name}` }, element("summary", { textContent: title }), play, row);
      const drawn = members.map((map) => {
        const canvas = canvasFor(this.one, wide, t("heatmap of {case}, {map}", { case: this.one.id, map: nameOf(map) }));
        const figure = element("figure", {}, element("button", {
          type: "button", className: "bare", onclick: () => this.choose(map),
        }, canvas), element("figcaption", { textContent: t("{map}, peak {peak}", { map: nameOf(map), peak: percent(map.peak) }) }));
        row.append(figure);
        return [canvas, map, figure];
      });
      const redraw = async () => {
        if (!box.open) return;
        const image = await picture(this.one.image);
        for (const [canvas, map] of drawn) draw(canvas, image, heat(map, this.one.grid), this.one, this.view);
      };
      box.ontoggle = redraw;
      this.strips.push(redraw);
      play.onclick = () => {
        const mine = play.dataset.plays;
        clearInterval(this.playing);
        this.host.querySelectorAll("[data-plays]").forEach((other) => { other.textContent = t("play"); delete other.dataset.plays; });
        if (mine) return;
        play.dataset.plays = "1";
        play.textContent = t("stop");
        let next = 0;
        const step = () => {
          this.choose(members[next]);
          drawn.forEach(([, , figure], i) => figure.classList.toggle("now", i === next));
          next = (next + 1) % members.length;
        };
        step();
        this.playing = setInterval(step, 600);
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
      if (mode === 0) parts.push([t("baseline"), before], [t("now"), now], [t("now − baseline"), "difference"]);
      else if (mode === 3) parts.push([t("picture"), null], ...(now ? [[t("now"), now]] : []));
      else parts.push([modes()[mode], mode === 1 ? "blink" : "swipe"]);
      this.parts = parts.map(([title, what]) => {
        const canvas = canvasFor(one, 400, `${one.id}: ${t(one.state)}, ${title}`);
        this.watch(canvas, what === null ? null : (what === before ? before : now));
        return { canvas, what, title, now, before };
      });
      this.panels.replaceChildren(...this.parts.map((p) => element("figure", {}, p.canvas, element("figcaption", {}, ...this.caption(p)))));
      this.panels.classList.toggle("one", this.parts.length === 1);
      if (mode === 2) {
        const slider = element("input", { type: "range", min: 0, max: 100, value: this.split * 100, "aria-label": t("baseline left, now right") });
        slider.oninput = () => { this.split = slider.value / 100; this.redraw(); };
        this.panels.firstChild.append(slider);
      }
      if (mode === 1) this.timer = setInterval(() => { this.blinking = !this.blinking; this.redraw(); }, 700);
      this.redraw();
    }

    caption({ what, title, now, before }) {
      if (what === "swipe") return [t("baseline left, now right")];
      if (what === "blink") return [t("baseline and now in turn"), element("span", { className: "which-now" })];
      if (what === "difference") return [t("now − baseline: red more, blue less"), scaleOf(now, before), ...this.gains(before)];
      if (what === null) return [title];
      return [t("{title}: {map}, peak {peak}", { title, map: nameOf(now), peak: percent(what.peak) })];
    }

    gains({ moved }) {
      const told = Object.entries(moved).map(([name, points]) => `${name} ${points}`);
      return told.length ? [element("span", { className: "gains", textContent: t("{told} points", { told: told.join(", ") }) })] : [];
    }

    async redraw() {
      const image = await picture(this.one.image);
      const { one, view } = this;
      for (const { canvas, what, now, before } of this.parts) {
        const top = before && show.shared ? Math.max(now.peak, before.peak) : now?.top;
        const warm = (map) => heat(map, one.grid, top);
        const names = true;
        if (what === null) draw(canvas, image, null, one, view, { names });
        else if (what === "difference") draw(canvas, image, change(now, before, ...one.grid), one, view, { grey: true, names });
        else if (what === "blink") {
          const [title, shown] = this.blinking ? [t("baseline"), before] : [t("now"), now];
          draw(canvas, image, warm(shown), one, view, { names });
          this.panels.querySelector(".which-now").textContent = this.caption({ what: shown, title, now })[0];
        } else if (what === "swipe") {
          draw(canvas, image, warm(now), one, view, { names });
          draw(canvas, image, warm(before), one, view, { until: this.split, names });
          divide(canvas, this.split);
        } else draw(canvas, image, warm(what), one, view, { names });
      }
      this.article.dataset.drawn = String(Number(this.article.dataset.drawn ?? 0) + 1);
      this.strips.forEach((redraw) => redraw());
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
          this.readout.textContent = t("pixel {x}, {y}: the model does not see this part of the picture", { x: Math.floor(x * w), y: Math.floor(y * h) });
          return;
        }
        const across = (c) => Math.round(Math.min(1, Math.max(0, left + c / cols * (right - left))) * w);
        const down = (r) => Math.round(Math.min(1, Math.max(0, top + r / rows * (bottom - top))) * h);
        const box = [across(col), down(row), across(col + 1), down(row + 1)];
        const told = { row: row + 1, column: col + 1, rows, cols, pixels: `${box[0]}–${box[2]} × ${box[1]}–${box[3]}` };
        this.readout.textContent = map
          ? t("row {row}, column {column} of {rows} × {cols}: {share} of {map}; pixels {pixels}", { ...told, share: percent(strengths(map)[row * cols + col] / 255 * map.peak), map: nameOf(map) })
          : t("row {row}, column {column} of {rows} × {cols}; pixels {pixels}", told);
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
    await small(article.querySelector(".view"), one, one.maps[0], t("{state}, heatmap", { state: t(one.state) }));
    article.dataset.drawn = "1";
  }

  // A case's variants beside it, or beside a variant its case and where the case's map would be.
  function family(article) {
    for (const host of article.querySelectorAll("[data-member]")) {
      const member = byId.get(host.dataset.member);
      const one = host.dataset.map === "original" ? member.original : member;
      const moved = host.dataset.map === "moved" && one.maps.find((map) => map.strip === "follows");
      if (one.image) small(host, one, moved || one.maps[0], moved ? nameOf(moved) : t("{state}, heatmap", { state: t(one.state) }));
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
  // Printing does not wait for a picture to load, so all are loaded one by one in idle moments.
  const idle = window.requestIdleCallback ?? ((then) => setTimeout(then, 20));
  idle(async () => {
    for (const key of Object.keys(data.images)) {
      await picture(key);
      await new Promise((then) => idle(then));
    }
    document.documentElement.dataset.loaded = "1";
  });
  window.addEventListener("beforeprint", () => {
    articles.forEach(open);
    for (const id of ["figures", "slices", "glossary"]) if ($(id)) $(id).open = true;
  });

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

