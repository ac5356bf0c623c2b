// The gallery: what is selected, and what can be done with it. Two pictures are compared by a line that one moves over them.
const bar = document.querySelector(".picked");
const dialog = document.querySelector("#compare");
const over = dialog.querySelector(".over");
const divide = dialog.querySelector("#divide");

const picked = () => [...document.querySelectorAll(".pick:checked")];

function tell() {
  const all = picked();
  bar.hidden = all.length === 0;
  bar.querySelector("strong").textContent = `${all.length} selected`;
  bar.querySelector("[data-do=compare]").disabled = all.length !== 2;
}

function download(box) {
  const link = document.createElement("a");
  link.href = box.dataset.picture;
  link.download = box.dataset.name;
  link.click();
}

function show() {
  over.style.clipPath = `inset(0 0 0 ${divide.value}%)`;
}

function compare([one, two]) {
  dialog.querySelector(".pair img").src = one.dataset.picture;
  over.src = two.dataset.picture;
  divide.value = 50;
  show();
  dialog.showModal();
  divide.focus();
}

document.addEventListener("change", ({ target }) => target.matches(".pick") && tell());
divide.addEventListener("input", show);
bar.addEventListener("click", ({ target }) => {
  const wish = target.closest("[data-do]")?.dataset.do;
  if (wish === "compare") compare(picked());
  if (wish === "download") picked().forEach(download);
  if (wish === "clear") for (const box of picked()) box.checked = false;
  tell();
});
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.elt.dataset.do === "erase") detail.parameters.ids = picked().map((box) => box.value).join(",");
});
document.addEventListener("erased", ({ detail }) => {
  for (const id of detail.ids) document.querySelector(`#tile-${id}`)?.remove();
  tell();
});
document.addEventListener("htmx:afterSwap", tell);
