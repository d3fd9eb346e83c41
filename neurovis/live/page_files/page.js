"use strict";
// Everything that comes from the server is put in as text; pictures are fetched by their names.
const $ = (id) => document.getElementById(id);
const width = (p) => (p === null ? "0" : `${100 * p}%`);
const percent = (p, digits = 0) => `${(100 * p).toFixed(digits)} %`;
const short = (ms) => ms.toFixed(ms < 100 ? 1 : 0);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let facts = {}, epoch = null, latency = null;

function el(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function show(box, image, label, hit) {
  box.classList.toggle("hit", Boolean(hit));
  if (box.dataset.image === image) return;
  box.dataset.image = image;
  if (!image) { box.replaceChildren(); return; }
  const picture = new Image();
  picture.alt = label;
  picture.onload = () => picture.style.removeProperty("visibility");
  picture.onerror = () => picture.replaceWith(el("span", label));
  picture.src = "picture/" + encodeURIComponent(image);
  picture.style.visibility = "hidden";  // nothing stands there until it has come
  box.replaceChildren(picture);
}

function rankedRow(list, number) {
  while (list.children.length <= number) {
    const row = el("li"), meter = el("div", undefined, "meter");
    meter.append(el("i"));
    row.append(el("div", undefined, "picture"), el("p", "", "name"), meter, el("p", "", "value"));
    list.append(row);
  }
  return list.children[number];
}

function decision(data) {
  const d = data.decision, list = $("ranked");
  d.image.forEach((image, i) => {
    const row = rankedRow(list, i), hit = d.truth && image === d.truth;
    row.classList.toggle("hit", Boolean(hit));
    show(row.children[0], image, data.names[i], false);
    row.children[1].textContent = data.names[i];
    const p = d.probability ? d.probability[i] : null;
    row.children[2].hidden = p === null;
    row.children[2].firstChild.style.width = width(p);
    row.children[3].textContent = p === null ? `cosine ${d.similarity[i].toFixed(2)}` : percent(p, 1);
  });
  while (list.children.length > d.image.length) list.lastChild.remove();
  const kinds = { early: `first ${Math.round(1000 * d.until)} ms alone`, single: "one trial",
    average: `mean of ${d.n_averaged} trials` };
  $("kind").textContent = `event ${d.event + 1}, ${kinds[d.kind]}`;
  $("confidence").textContent = d.probability
    ? `Probabilities over ${facts.gallery}, at the temperature fitted on validation trials.`
    : d.kind === "early"
      ? "A growing window: later signal is set to zero, and no probability is stated."
      : "This run has no calibration: similarities alone are shown.";
  show($("truth"), d.truth || "", data.truth_name || "", d.rank === 1);
  $("truth-name").textContent = data.truth_name || (d.truth ? "" : "not known");
  $("truth-rank").textContent = d.rank ? `rank ${d.rank}` : d.truth ? "not in the gallery" : "";
  const concepts = $("concepts");
  concepts.replaceChildren(...d.concept.map((name, i) => {
    const row = el("li"), meter = el("div", undefined, "meter"), fill = el("i");
    const p = d.concept_probability ? d.concept_probability[i] : null;
    fill.style.width = width(p);
    meter.append(fill);
    row.append(el("b", name), el("span", p === null ? "" : percent(p, 0)), meter);
    return row;
  }));
  if (data.epoch) { epoch = { ...data.epoch, tmin: data.tmin, sfreq: data.sfreq, until: d.until }; drawEpoch(); }
}

function tally(data) {
  rates(data.accuracy);
  latency = data.latency;
  drawLatency();
}

function rates(rows) {
  $("accuracy-facts").textContent = rows.length ? "" : "no shown picture is known yet";
  $("accuracy").replaceChildren(...rows.map((r) => {
    const row = el("li");
    row.append(el("span", r.name), el("strong", percent(r.value, 0)),
      el("small", `${percent(r.low, 0)} to ${percent(r.high, 0)}, chance ${percent(r.chance, 1)}, ` +
        `${r.n} trials of ${r.images} pictures`));
    return row;
  }));
}

function canvas(id) {
  const c = $(id), scale = window.devicePixelRatio || 1;
  c.width = Math.round(c.clientWidth * scale);
  c.height = Math.round(c.clientHeight * scale);
  const g = c.getContext("2d");
  g.scale(scale, scale);
  g.clearRect(0, 0, c.clientWidth, c.clientHeight);
  g.font = `12px ${style("--sans")}`;
  return [g, c.clientWidth, c.clientHeight];
}

function drawEpoch() {
  if (!epoch) return;
  const [g, w, h] = canvas("epoch"), bottom = h - 20, n = epoch.times;
  const bytes = Uint8Array.from(atob(epoch.data), (c) => c.charCodeAt(0));
  const values = new Int8Array(bytes.buffer), x = (i) => (i / Math.max(1, n - 1)) * (w - 2) + 1;
  const y = (v) => bottom / 2 - (v / 127) * (bottom / 2 - 4);
  const at = (t) => x((t - epoch.tmin) * epoch.sfreq);
  g.strokeStyle = style("--hair");
  g.fillStyle = style("--soft");
  g.textAlign = "center";
  for (let t = Math.ceil(epoch.tmin * 10) / 10; t <= epoch.tmin + n / epoch.sfreq; t += 0.1) {
    const ms = Math.round(1000 * t);
    g.beginPath(); g.moveTo(at(t), 0); g.lineTo(at(t), bottom); g.stroke();
    if (ms % 200 === 0 && at(t) > 14 && at(t) < w - 30) g.fillText(ms === 0 ? "picture on" : `${ms} ms`, at(t), h - 5);
  }
  g.lineWidth = 1;
  g.strokeStyle = style("--faint");
  g.globalAlpha = 0.45;
  for (let c = 0; c < epoch.channels; c++) {
    g.beginPath();
    for (let i = 0; i < n; i++) g.lineTo(x(i), y(values[c * n + i]));
    g.stroke();
  }
  g.globalAlpha = 1;
  g.lineWidth = 2.2;
  g.strokeStyle = style("--blue");
  g.beginPath();
  epoch.power.forEach((v, i) => g.lineTo(x(i), y((127 * v) / epoch.top)));
  g.stroke();
  $("epoch-facts").textContent = `${epoch.channels} channels and their power, in training SDs`;
}

function drawLatency() {
  if (!latency) return;
  const [g, w, h] = canvas("latency"), bottom = h - 18, edges = latency.edges, counts = latency.counts;
  const top = Math.max(1, ...counts), wide = w / counts.length;
  counts.forEach((n, i) => {
    g.fillStyle = style(edges[i] < 50 ? "--blue" : "--warm");
    const tall = n ? Math.max(2, (n / top) * (bottom - 4)) : 0;
    g.fillRect(i * wide + 1, bottom - tall, wide - 2, tall);
  });
  g.fillStyle = style("--soft");
  edges.forEach((ms, i) => {
    const last = i === edges.length - 1;
    if (!last && (i % 4 || i > edges.length - 4)) return;
    g.textAlign = last ? "right" : i ? "center" : "left";
    g.fillText(last ? `${ms} or more` : `${ms}${i ? "" : " ms"}`, last ? w : i * wide, h - 4);
  });
  $("latency-facts").textContent = `median ${short(latency.median)} ms, 99 % under ${short(latency.p99)} ms`;
  $("stages").replaceChildren(...latency.stages.map(([name, ms]) => {
    const row = el("li", `${name} `);
    row.append(el("b", `${ms.toFixed(1)} ms`));
    return row;
  }));
}

function state(name, text) {
  $("state").textContent = text;
  $("state").dataset.state = name;
}

function stream(data) {
  state(data.state, data.text);
  $("stream").replaceChildren(...data.rows.flatMap(([name, value]) => [el("dt", name), el("dd", value)]));
}

function note(data) {
  const row = el("li"), log = $("log");
  row.append(el("time", `${data.at.toFixed(0)} s`), el("p", data.text));
  log.prepend(row);
  while (log.children.length > 60) log.lastChild.remove();
}

function painted(data) {
  $("painted-box").hidden = false;
  document.querySelector(".now").classList.add("paints");
  show($("painted"), data.image, data.text, false);
  $("painted-kind").textContent = data.kind;
  $("painted-name").textContent = data.text;
}

function hello(data) {
  facts = data;
  $("title").textContent = data.title;
  document.title = `${data.title} · neurovis live`;
  $("footer").textContent = data.footer;
  $("log").replaceChildren();
}

const source = new EventSource("events");
const on = (kind, take) => source.addEventListener(kind, (e) => take(JSON.parse(e.data)));
on("hello", hello); on("decision", decision); on("stream", stream); on("tally", tally); on("note", note); on("painted", painted);
source.onerror = () => state("lost", "page not connected");
window.addEventListener("resize", () => { drawEpoch(); drawLatency(); });
matchMedia("(prefers-color-scheme:dark)").addEventListener("change", () => { drawEpoch(); drawLatency(); });
