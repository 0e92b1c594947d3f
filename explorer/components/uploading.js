// Pictures that are pasted, and folders that are dropped, arrive as uploads: a folder as a tar of its own, so that its
// sub-folders stay labels.
const box = () => document.querySelector('#upload');
const input = async () => {  // absent while the page opens and while other files are on their way
  for (;;) {
    const there = box()?.querySelector('input[type=file]');
    if (there || !element.isConnected) return there;
    await new Promise((later) => setTimeout(later, 100));
  }
};
const arrive = async (files) => {
  const place = files.length && await input(), held = new DataTransfer();
  if (!place) return;
  for (const file of files) held.items.add(file);
  place.files = held.files;
  place.dispatchEvent(new Event('change', {bubbles: true}));
};
const inside = async (entry) => {
  if (entry.isFile) {
    const file = await new Promise((give, fail) => entry.file(give, fail));
    return [{name: entry.fullPath.replace(/^\//, ''), file}];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // a reader gives a hundred at a time
    const part = await new Promise((give, fail) => reader.readEntries(give, fail));
    if (!part.length) return found;
    for (const child of part) found.push(...await inside(child));
  }
};
const header = (name, size, kind) => {
  const block = new Uint8Array(512), text = new TextEncoder();
  const put = (at, value) => block.set(text.encode(value), at);
  put(0, name); put(100, '0000644\0'); put(108, '0000000\0'); put(116, '0000000\0');
  put(124, `${size.toString(8).padStart(11, '0')}\0`); put(136, '00000000000\0'); put(148, '        ');
  put(156, kind); put(257, 'ustar\0' + '00');
  put(148, `${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `);
  return block;
};
const filled = (size) => new Uint8Array((512 - size % 512) % 512);
const tar = (files) => {  // names of any length and alphabet stand in records of their own (pax)
  const parts = [];
  for (const {name, file} of files) {
    const body = new TextEncoder().encode(` path=${name}\n`);
    let length = body.length + 1;
    while (`${length}`.length + body.length !== length) length = `${length}`.length + body.length;
    const record = new TextEncoder().encode(`${length} path=${name}\n`);
    parts.push(header('pax', record.length, 'x'), record, filled(record.length));
    parts.push(header('file', file.size, '0'), file, filled(file.size));
  }
  return new Blob([...parts, new Uint8Array(1024)]);
};
const onDrop = async (event) => {
  if (!box()?.contains(event.target)) return;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return;
  event.preventDefault();
  event.stopPropagation();
  const files = [];
  for (const entry of entries) {
    const found = await inside(entry);
    if (entry.isDirectory) files.push(new File([tar(found)], `${entry.name}.tar`));
    else files.push(found[0].file);
  }
  arrive(files);
};
const onPaste = (event) => {
  if (!element.isConnected) { document.removeEventListener('paste', onPaste); return; }
  const files = [...event.clipboardData.files];
  if (!files.length || event.target.closest?.('input, textarea')) return;
  event.preventDefault();
  arrive(files.map((file, number) => new File([file], file.name || `pasted-${number + 1}.png`, {type: file.type})));
};
document.addEventListener('drop', onDrop, true);
document.addEventListener('paste', onPaste);
