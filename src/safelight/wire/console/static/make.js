// The form on which pictures are made: what to start from, shapes, and the way to send it.
const usual = 512; // the longer side of a picture that is made from a larger one
const form = document.querySelector("#make");
const file = form.querySelector("#init");
const easel = form.querySelector(".easel");
const init = form.querySelector("img.init");
const side = { width: form.elements.width, height: form.elements.height };

function setSize(width, height) {
  const most = Number(form.dataset.mostSide);
  const scale = Math.min(1, most / Math.max(width, height));
  side.width.value = Math.max(64, Math.round((width * scale) / 8) * 8);
  side.height.value = Math.max(64, Math.round((height * scale) / 8) * 8);
}

async function startFrom(picture) {
  const given = new DataTransfer();
  if (picture) given.items.add(picture);
  file.files = given.files;
  await show();
}

async function show() {
  const [picture] = file.files;
  URL.revokeObjectURL(init.src);
  easel.hidden = !picture;
  form.querySelector(".drop").hidden = Boolean(picture);
  if (!picture) {
    init.removeAttribute("src");
    form.dispatchEvent(new CustomEvent("easel", { detail: null }));
    return;
  }
  init.src = URL.createObjectURL(picture);
  try {
    await init.decode();
  } catch {
    return startFrom(null);
  }
  const fit = Math.min(1, usual / Math.max(init.naturalWidth, init.naturalHeight));
  setSize(init.naturalWidth * fit, init.naturalHeight * fit);
  form.dispatchEvent(new CustomEvent("easel", { detail: init }));
}

async function use(address) {
  const reply = await fetch(address);
  if (!reply.ok) return;
  await startFrom(new File([await reply.blob()], "init.png", { type: "image/png" }));
  form.scrollIntoView({ behavior: "smooth", block: "start" });
  form.elements.prompt.focus({ preventScroll: true });
}

file.addEventListener("change", show);
form.querySelector("[data-mask=remove]").addEventListener("click", () => startFrom(null));
document.addEventListener("paste", ({ clipboardData }) => {
  const picture = [...clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (picture) startFrom(picture);
});
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    const [picture] = event.dataTransfer.files;
    if (name === "drop" && picture?.type.startsWith("image/")) startFrom(picture);
  });
}

form.querySelector(".shapes").addEventListener("click", ({ target }) => {
  const shape = target.closest("[data-shape]")?.dataset.shape;
  if (!shape) return;
  const [wide, high] = shape.split(":").map(Number);
  const long = Math.max(Number(side.width.value), Number(side.height.value));
  setSize((long * wide) / Math.max(wide, high), (long * high) / Math.max(wide, high));
});

form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-use]");
  if (button && button !== form) use(button.dataset.use);
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.elt !== form || !detail.successful) return;
  document.querySelector("#tray .empty")?.remove();
  document.querySelector("#tray .card")?.scrollIntoView({ behavior: "smooth", block: "nearest" });
});
if (form.dataset.use) use(form.dataset.use);
