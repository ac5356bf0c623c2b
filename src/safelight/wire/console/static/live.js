// Cards of jobs that have not ended: each is followed by the server's events until it has, and then asked for once more.
// Browsers keep few connections to one server, so no more than four are followed at a time; the others wait for a place.
const most = 4;
const waiting = [];
let following = 0;

function lasts(seconds) {
  if (seconds < 1) return "";
  return seconds < 90 ? `about ${Math.round(seconds)} s left` : `about ${Math.round(seconds / 60)} min left`;
}

function tell(card, state, steps, seconds) {
  const told = card.querySelector(".state");
  if (told.textContent !== state) told.textContent = state;
  card.querySelector(".steps").textContent = steps;
  card.querySelector(".left").textContent = lasts(seconds);
}

function onQueued(card, { place, seconds_left }) {
  tell(card, "Waiting", place > 1 ? `place ${place} in the queue` : "next in the queue", seconds_left);
}

function onStep(card, { step, steps, seconds_left, preview }) {
  tell(card, "Being made", `step ${step} of ${steps}`, seconds_left);
  const progress = card.querySelector("progress");
  progress.max = steps;
  progress.value = step;
  if (preview) {
    const picture = card.querySelector(".preview");
    picture.src = preview;
    picture.hidden = false;
    card.querySelector(".frame").classList.remove("waiting");
  }
}

function onErased(card) {
  card.querySelector(".told").textContent = "Erased.";
  card.querySelector(".actions").remove();
}

function follow(card) {
  following += 1;
  const source = new EventSource(card.dataset.events);
  const end = () => {
    source.close();
    following -= 1;
    begin();
  };
  const on = (name, act) =>
    source.addEventListener(name, (event) => (card.isConnected ? act(card, JSON.parse(event.data)) : end()));
  const ended = () => {
    end();
    htmx.ajax("GET", card.dataset.end, { target: card, swap: "outerHTML" });
  };
  on("queued", onQueued);
  on("step", onStep);
  on("done", ended);
  on("failed", ended);
  on("erased", () => (end(), onErased(card)));
  source.onerror = () => source.readyState === EventSource.CLOSED && end();
}

function begin() {
  while (following < most && waiting.length) {
    const card = waiting.shift();
    if (card.isConnected) follow(card);
  }
}

document.addEventListener("htmx:load", ({ target }) => {
  const cards = [...target.querySelectorAll("[data-events]")];
  if (target.matches("[data-events]")) cards.push(target);
  waiting.push(...cards);
  begin();
});
