// Shows times in the browser's time zone, ties the transcript to the player, and keeps the region marked `data-live` up
// to date. Without this script every page works, but the user has to reload it.
(() => {
  "use strict";

  const POLL_MS = 2000;
  const TRANSFER_POLL_MS = 1000;
  const RETRY_MS = 5000;
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  let isLeaving = false;

  function showLocalTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.textContent = format.format(new Date(time.dateTime));
      time.title = time.dateTime;
    }
  }

  const player = () => document.querySelector("[data-player]");

  // The transcript's cues become captions of the player, and the cue that is heard is marked.
  function addCaptions() {
    const cues = document.querySelectorAll("[data-start]");
    if (!cues.length || !player() || player().textTracks.length) return;
    const track = player().addTextTrack("captions", "Transcript");
    for (const { dataset, lastElementChild } of cues) {
      const text = lastElementChild.textContent.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
      track.addCue(new VTTCue(dataset.start, dataset.end, text));
    }
    track.mode = "hidden";
    track.addEventListener("cuechange", () => {
      const starts = new Set([...track.activeCues].map((cue) => cue.startTime));
      for (const cue of document.querySelectorAll("[data-start]")) {
        const isActive = starts.has(Number(cue.dataset.start));
        if (isActive) cue.setAttribute("aria-current", "true");
        else cue.removeAttribute("aria-current");
        const list = cue.closest("ol");
        // Scrolls the list alone, unless the user reads in it.
        if (isActive && !list.matches(":hover, :focus-within")) list.scrollTop = cue.offsetTop - list.clientHeight / 3;
      }
    });
  }

  function seek(event) {
    const cue = event.target.closest("[data-start]");
    if (!cue || !player() || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    player().currentTime = cue.dataset.start;
    player().play().catch(() => {}); // The browser may forbid it; the position is right all the same.
  }

  // Regions of the same version have the same structure; only their progress differs.
  function copyProgress(region, fresh) {
    const current = region.querySelectorAll(".progress");
    fresh.querySelectorAll(".progress").forEach((update, index) => {
      const bar = update.querySelector("progress");
      if (bar.hasAttribute("value")) current[index].querySelector("progress").value = bar.value;
      current[index].querySelector("span").textContent = update.querySelector("span").textContent;
    });
  }

  function replace(region, fresh) {
    for (const open of region.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const href = focused?.getAttribute("href");
    const details = focused?.closest("details[id]");
    showLocalTimes(fresh);
    region.replaceWith(document.adoptNode(fresh));
    addCaptions();
    if (href) fresh.querySelector(`[href="${CSS.escape(href)}"]`)?.focus();
    else if (details) fresh.querySelector(`#${CSS.escape(details.id)} summary`)?.focus();
    document.getElementById("announcement").textContent = fresh.dataset.live ?? document.title;
  }

  const isWatching = (region) =>
    [...region.querySelectorAll("video, audio")].some((media) => media.currentTime > 0 && !media.ended);

  // The server is the only renderer: the script fetches the page again and takes its live region.
  async function poll() {
    if (isLeaving) return;
    let delay = POLL_MS;
    try {
      if (!document.hidden) {
        const response = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!response.ok) throw new Error(response.statusText);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.querySelector("[data-version]");
        if (!fresh) return location.reload(); // The session has ended.
        const region = document.querySelector("[data-version]");
        if (fresh.dataset.version === region.dataset.version) copyProgress(region, fresh);
        else if (!isWatching(region)) {
          replace(region, fresh);
          if (!("live" in fresh.dataset)) return; // Nothing more is expected.
        }
        if (fresh.querySelector("progress")) delay = TRANSFER_POLL_MS;
      }
    } catch {
      delay = RETRY_MS;
    }
    setTimeout(poll, delay);
  }

  showLocalTimes(document);
  addCaptions();
  document.addEventListener("click", seek);
  // A poll after this would consume the message for the next page.
  addEventListener("submit", () => (isLeaving = true));
  if (document.querySelector("[data-live]")) setTimeout(poll, TRANSFER_POLL_MS);
})();
