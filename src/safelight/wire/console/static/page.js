// What every page has: notices that can be closed, texts that can be copied, sliders that say their value.
document.addEventListener("click", async ({ target }) => {
  if (target.closest("[data-dismiss]")) target.closest("#notice").replaceChildren();
  const copy = target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(copy.closest(".code").querySelector("code").textContent);
    copy.textContent = "Copied";
  }
});

document.addEventListener("input", ({ target }) => {
  if (target.type === "range" && target.nextElementSibling?.tagName === "OUTPUT") {
    target.nextElementSibling.value = target.value;
  }
});

document.addEventListener("htmx:beforeRequest", () => document.querySelector("#notice")?.replaceChildren());
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const receipt = detail.target.matches?.(".receipt") ? detail.target : document.querySelector(".receipt:not([data-seen])");
  if (receipt) {
    receipt.dataset.seen = "";
    receipt.focus({ preventScroll: true });
  }
});
document.addEventListener("htmx:sendError", () => {
  const told = document.createElement("p");
  told.className = "wrong";
  told.textContent = "The server does not answer.";
  document.querySelector("#notice").replaceChildren(told);
});
