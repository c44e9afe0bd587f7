"use strict";
const $ = (id) => document.getElementById(id);
const call = async (method, path, body) => {
  const response = await fetch("/_sim/" + path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  let value;
  try { value = JSON.parse(text); } catch { value = { error: text }; }
  if (!response.ok) throw new Error(value.error || response.statusText);
  return value;
};
const notice = (text) => { $("notice").textContent = text; };
const act = async (name, work) => {
  try { await work(); notice(name); } catch (error) { notice(name + ": " + error.message); }
  refresh();
};
// Text is set through textContent only, because topics and names are untrusted.
const el = (tag, className, ...children) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
};
const button = (label, name, work) => {
  const node = el("button", "small", label);
  node.addEventListener("click", () => act(name, work));
  return node;
};
const bytes = (count) => {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < 4) { count /= 1000; unit += 1; }
  return (unit ? count.toFixed(1) : count) + " " + units[unit];
};
const time = (text) => new Date(text).toLocaleTimeString();
const shown = {};
const fill = (id, list, make, empty) => {
  // Lists that did not change stay as they are: a button must not vanish between press and release.
  const state = JSON.stringify(list);
  if (shown[id] === state) return;
  shown[id] = state;
  $(id).replaceChildren(...(list.length ? list.map(make) : [el("p", "quiet", empty)]));
};
const classes = { delivered: "good", pending: "wait", failed: "bad", dropped: "bad", live: "good" };

const show = (all) => {
  const now = new Date(all.now).toLocaleString();
  const moved = all.offset_seconds ? ` (moved by ${all.offset_seconds} s)` : "";
  $("status").textContent = `${now}${moved} · events: ${all.webhook_url || "no endpoint yet"} · retries ×${all.retry_scale}`;
  $("webhooks").textContent = all.webhooks_enabled ? "Disable webhooks" : "Enable webhooks";
  $("webhooks").dataset.enabled = all.webhooks_enabled;

  const select = $("create").elements.host_id;
  const people = all.users.filter((user) => !user.removed);
  if (select.options.length !== people.length) {
    const chosen = select.value;
    select.replaceChildren(...people.map((user) => new Option(`${user.name} · ${user.account_name}`, user.id)));
    if (chosen) select.value = chosen;
  }
  fill("users", all.users, (user) => {
    const state = user.removed ? "removed" : user.grant || "not connected";
    const acts = el("div", "acts");
    if (!user.removed) acts.append(
      button("Deauthorize", `${user.name} removes the app`, () => call("POST", `users/${user.id}/deauthorize`, {})),
      button("Remove from account", `${user.name} removed`, () => call("POST", `users/${user.id}/remove`)));
    return el("div", "item", el("p", "", el("strong", "", user.name), " · ", el("span", classes[state] || "quiet", state.replaceAll("_", " "))),
      el("p", "quiet mono", user.id + " in " + user.account_id), acts);
  }, "No users.");

  fill("recordings", all.recordings, (one) => {
    const path = "recordings/" + one.key;
    const post = (label, what, tail, body = {}) => button(label, `${what} (${one.key})`, () => call("POST", `${path}/${tail}`, body));
    const host = all.users.find((user) => user.id === one.host_id);
    const state = one.processing ? "processing" : one.present === one.files ? "" : `${one.present} of ${one.files} present`;
    return el("div", "item",
      el("p", "", el("strong", "", one.topic), " ", el("span", "wait", state)),
      el("p", "quiet", `${host ? host.name : one.host_id} · ${one.files} files · ${bytes(one.size)} · ${new Date(one.start_time).toLocaleString()}`),
      el("p", "quiet mono", `${one.key} ${one.uuid}`),
      el("div", "acts",
        button("Late transcript", `Transcript (${one.key})`, () => call("POST", `${path}/transcript`)),
        button("Complete again", `Second event (${one.key})`, () => call("POST", `${path}/complete`)),
        post("Trash", "Trashed", "trash"), post("Recover", "Recovered", "recover"), post("Delete", "Deleted", "delete"),
        post("Rename", "Renamed", "rename", { topic: one.topic + " (renamed)" })));
  }, "None yet.");

  fill("deliveries", all.deliveries, (one) => {
    const attempts = one.attempts.map((attempt) => {
      const outcome = attempt.status || attempt.error || "…";
      const next = attempt.retry_at && one.state === "pending" ? `, retry at ${time(attempt.retry_at)}` : "";
      return el("p", "mono quiet", `#${attempt.number} ${time(attempt.at)} → ${outcome} in ${attempt.latency_ms} ms${next}`);
    });
    return el("div", "item",
      el("p", "", el("strong", "", one.event), " ", el("span", classes[one.state], one.state === "dropped" ? "dropped: webhooks are disabled, or there is no endpoint" : one.state)), ...attempts,
      el("div", "acts", button("Send again", `Duplicate of ${one.id}`, () => call("POST", `deliveries/${one.id}/duplicate`, {}))));
  }, "None yet.");

  fill("requests", all.requests, (one) => el("p", "mono",
    el("span", one.status >= 400 ? "bad" : one.status ? "good" : "wait", String(one.status || "…")),
    ` ${time(one.at)} ${one.method} ${one.path.length > 70 ? one.path.slice(0, 70) + "…" : one.path}`,
    el("span", "quiet", `${one.authorization ? " " + one.authorization : ""}${one.range ? " " + one.range : ""}${one.detail ? " " + one.detail : ""}`)), "None yet.");

  fill("faults", all.faults, (one) => el("div", "item",
    el("p", "mono", `${one.at}: ${one.kind}${one.status ? " " + one.status : ""} · ${one.times === undefined ? "always" : one.times + " left"} · ${one.hits} hits`),
    el("div", "acts", button("Clear", "Cleared", () => call("DELETE", "faults/" + one.id)))), "No faults.");
};

const refresh = async () => {
  try { show(await call("GET", "overview")); } catch (error) { notice("The simulator does not respond: " + error.message); }
};

$("create").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const number = (name) => Number(form.elements[name].value);
  const files = [...form.querySelectorAll("[data-type]")]
    .map((input) => ({ file_type: input.dataset.type, size: Math.round(Number(input.value) * 1e6) }))
    .filter((file) => file.size > 0);
  act("Recording completed", () => call("POST", "recordings", {
    host_id: form.elements.host_id.value, topic: form.elements.topic.value, files,
    duration_minutes: number("duration_minutes"), segments: number("segments"), participant_audio: number("participant_audio"),
  }));
});
$("fault").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target.elements;
  act("Fault activated", () => call("POST", "faults", { at: form.at.value, times: Number(form.times.value), ...JSON.parse(form.kind.value) }));
});
$("clear").addEventListener("click", () => act("All faults cleared", () => call("DELETE", "faults")));
$("webhooks").addEventListener("click", (event) => act("Webhooks changed", () => call("PATCH", "settings", { webhooks_enabled: event.target.dataset.enabled !== "true" })));
$("validate").addEventListener("click", () => act("Validated", async () => {
  const result = await call("POST", "validate");
  if (!result.ok) throw new Error(result.reason);
}));
for (const node of document.querySelectorAll("[data-clock]")) {
  node.addEventListener("click", () => act("Clock moved", () => call("POST", "clock", { advance_seconds: Number(node.dataset.clock) })));
}
refresh();
setInterval(refresh, 1000);
