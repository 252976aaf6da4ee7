// What the service and the database count, live: rates and times of the last interval, and what is stored.

import { get, request } from "./api.js";
import { lacking, may } from "./connection.js";
import { SPAN_MS, chart } from "./chart.js";
import { count, duration, facts, h, problem, size } from "./dom.js";

const INTERVAL_MS = 2000;
/** What the console itself asks for, and what has no end, tells nothing of how the service does. */
const OWN_ROUTES = ["/v1/stats", "/metrics", "/health/ready", "/v1/watch"];

/** Kept from view to view, so that going away and coming back loses nothing but the time between. */
const samples = [];

const rate = (figure) => figure >= 100 ? count(Math.round(figure)) : figure >= 10 ? figure.toFixed(0) : figure.toFixed(figure ? 1 : 0);
const bytes = (figure) => size(Math.round(figure));

/** A time in seconds. */
function seconds(figure) {
  if (figure === 0) return "0";
  const [value, unit] = figure < 0.001 ? [figure * 1e6, "µs"] : figure < 1 ? [figure * 1e3, "ms"] : [figure, "s"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export async function show(main, { signal }) {
  if (!may("read")) {
    main.replaceChildren(h("h1", { textContent: "Statistics" }), lacking("read", "see the figures"), h("p", { className: "hint", textContent: "It has to be for all tables." }));
    return;
  }
  const charts = [
    chart({ title: "Operations a second", format: rate, series: [
      { name: "reads", of: (sample) => sample.reads }, { name: "puts", of: (sample) => sample.puts }, { name: "deletes", of: (sample) => sample.deletes }] }),
    chart({ title: "Requests a second", format: rate, series: [
      { name: "answered", of: (sample) => sample.requests }, { name: "failed (5xx)", of: (sample) => sample.failed }] }),
    chart({ title: "Time until a request is answered", format: seconds, least: 0.001, series: [
      { name: "half within", of: (sample) => sample.p50 }, { name: "99 of 100 within", of: (sample) => sample.p99 }] }),
    chart({ title: "Time of the engine's calls, on average", format: seconds, least: 0.0001, series: [
      { name: "get", of: (sample) => sample.get }, { name: "put", of: (sample) => sample.put }, { name: "sync", of: (sample) => sample.sync }] }),
    chart({ title: "Disk", format: bytes, least: 1 << 20, step: 2, series: [
      { name: "taken", of: (sample) => sample.disk }, { name: "live", of: (sample) => sample.live }, { name: "dead", of: (sample) => sample.dead }] }),
    chart({ title: "Memory of the index", format: bytes, least: 1 << 10, step: 2, series: [
      { name: "all", of: (sample) => sample.index }, { name: "order of keys", of: (sample) => sample.order }] }),
  ];
  const now = h("div"), all = h("tbody"), failed = h("div");
  let isPaused = false;
  const pause = h("button", { type: "button", "aria-pressed": "false", textContent: "Pause", onclick: () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (!isPaused) turn();
  } });
  main.replaceChildren(h("div", { className: "title" }, h("h1", { textContent: "Statistics" }), now),
    h("div", { className: "row" }, pause, h("span", { className: "hint", textContent: `Every ${INTERVAL_MS / 1000} seconds, for ${SPAN_MS / 60_000} minutes` })),
    failed, h("div", { className: "charts" }, charts.map(({ element }) => element)),
    h("details", {}, h("summary", { textContent: "All figures" }), h("div", { className: "wide" },
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col", textContent: "Name" }), h("th", { scope: "col", className: "number", textContent: "Value" }))), all))));
  let waiting = 0;
  async function turn() {
    clearTimeout(waiting);
    if (signal.aborted || isPaused) return;
    if (!document.hidden) {
      try {
        const stats = await get("/v1/stats", { signal });
        const metrics = await request("GET", "/metrics", { signal }).then((got) => got.text());
        take(stats, figuresOf(metrics));
        failed.replaceChildren();
        tell(stats, samples.at(-1), now, all);
      } catch (error) {
        if (signal.aborted) return;
        // Of a lost connection the banner tells.
        if (error.status) failed.replaceChildren(problem(error));
      }
      for (const { draw } of charts) draw(samples, performance.now());
    }
    clearTimeout(waiting);
    waiting = setTimeout(turn, INTERVAL_MS);
  }
  signal.addEventListener("abort", () => clearTimeout(waiting));
  await turn();
}

function tell(stats, sample, now, all) {
  now.replaceChildren(facts([
    ["up for", duration(stats.uptime_ms)], ["tables", count(stats.tables)], ["keys", count(stats.keys)], ["on disk", size(stats.disk_bytes)],
    ["watches", count(sample.watches ?? 0)],
    ["not yet synced", size(stats.unsynced_bytes)],
    ["read-only", stats.read_only_cause || ""], ["in the background", stats.background_error || ""]]));
  all.replaceChildren(...Object.entries(stats).map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, h("code", { textContent: name })), h("td", { className: "number", textContent: typeof value === "number" ? count(value) : String(value ?? "–") }))));
}

/** Adds a sample: what has happened since the one before, by the difference of the counts. */
function take(stats, metrics) {
  const before = samples.at(-1);
  // After a restart the counts begin anew.
  const isSame = before && stats.uptime_ms > before.stats.uptime_ms;
  const elapsed = isSame ? (stats.uptime_ms - before.stats.uptime_ms) / 1000 : 0;
  const perSecond = (name) => isSame ? (stats[name] - before.stats[name]) / elapsed : undefined;
  const average = (name) => {
    const times = isSame ? stats[`${name}_count`] - before.stats[`${name}_count`] : 0;
    return times > 0 ? (stats[`${name}_total_ns`] - before.stats[`${name}_total_ns`]) / times / 1e9 : undefined;
  };
  const buckets = metrics.buckets.map(([bound, times], at) => [bound, times - (before?.metrics.buckets[at]?.[1] || 0)]);
  samples.push({
    at: performance.now(), stats, metrics, watches: metrics.watches,
    reads: perSecond("reads"), puts: perSecond("puts"), deletes: perSecond("deletes"),
    requests: isSame ? (metrics.requests - before.metrics.requests) / elapsed : undefined,
    failed: isSame ? (metrics.failed - before.metrics.failed) / elapsed : undefined,
    p50: isSame ? quantile(buckets, 0.5) : undefined, p99: isSame ? quantile(buckets, 0.99) : undefined,
    get: average("get_latency"), put: average("put_latency"), sync: average("sync_latency"),
    disk: stats.disk_bytes, live: stats.live_bytes, dead: stats.dead_bytes, index: stats.index_bytes, order: stats.ordered_bytes,
  });
  // Of those before the last only the figures are wanted.
  if (before) Object.assign(before, { stats: undefined, metrics: undefined });
  while (samples.length > 2 && samples[0].at < performance.now() - SPAN_MS) samples.shift();
}

/** The upper bound of the bucket in which so much of all is reached; the last one has no bound of its own. */
function quantile(buckets, part) {
  const all = buckets.at(-1)?.[1] || 0;
  if (all <= 0) return undefined;
  const found = buckets.find(([bound, times]) => times >= all * part && bound !== Infinity);
  return found ? found[0] : buckets.at(-2)?.[0];
}

const LINE = /^atomkv_http_(\w+?)(?:\{(.*)\})? (\S+)$/;

/** What the console shows of the text for Prometheus. */
export function figuresOf(text) {
  const out = { requests: 0, failed: 0, watches: 0, buckets: [] };
  const buckets = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = LINE.exec(line) || [];
    if (!name) continue;
    const label = (wanted) => new RegExp(`(?:^|,)${wanted}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels)?.[1];
    if (name === "watches") out.watches = Number(value);
    const route = label("route");
    if (!route || OWN_ROUTES.includes(route) || route.startsWith("/console")) continue;
    if (name === "requests_total") {
      out.requests += Number(value);
      if (label("status").startsWith("5")) out.failed += Number(value);
    }
    if (name === "request_seconds_bucket") {
      const bound = label("le") === "+Inf" ? Infinity : Number(label("le"));
      buckets.set(bound, (buckets.get(bound) || 0) + Number(value));
    }
  }
  out.buckets = [...buckets].sort(([one], [other]) => one - other);
  return out;
}
