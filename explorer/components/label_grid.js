// The behaviour of the grid of photos without a confirmed label. The server has the truth; answers can be changed
// until the next photos are asked for.
const root = element.querySelector('.labelling');
const part = (name) => root.querySelector(name);
const recall = () => { try { return JSON.parse(localStorage.getItem('explorer.analyst')) ?? ''; } catch { return ''; } };
const ask = (name, data) => server[name]({...data, analyst: recall()});
const notice = (text) => { part('.notice').textContent = text; part('.notice').hidden = !text; };

let photos = [], place = 0, pending = 0, chain = Promise.resolve();
const cards = () => [...root.querySelectorAll('.photo')];

const saving = () => {
  part('.saved').textContent = pending ? 'Saving…' : 'Saved';
  part('.saved').classList.toggle('busy', pending > 0);
};
const left = (count) => { part('.left').textContent = count ? `${count} without a label` : ''; };
const who = (name) => {
  part('[name=analyst]').hidden = !!name;  // whoever signed in has that name
  part('.signed-in').textContent = name ? `Signed in as ${name}` : '';
};

const open = async () => {
  await chain;
  const answer = await ask('waiting', {});
  if (answer.error) { notice(answer.error); return; }
  notice('');
  who(answer.analyst);
  photos = answer.photos; place = 0;
  left(answer.left);
  part('#all-labels').replaceChildren(...answer.labels.map((label) => new Option(label, label)));
  for (const button of root.querySelectorAll('.head button')) button.disabled = !photos.length;
  if (!photos.length) { part('.photos').innerHTML = answer.empty; return; }
  part('.photos').replaceChildren(...photos.map((photo, index) => {
    const box = document.createElement('article');
    box.className = 'photo';
    box.dataset.index = index;
    box.setAttribute('aria-label', photo.name);
    box.innerHTML = photo.markup;
    return box;
  }));
  mark();
};
const mark = () => {
  cards().forEach((box, index) => {
    const photo = photos[index];
    box.classList.toggle('cursor', index === place);
    box.tabIndex = index === place ? 0 : -1;
    box.dataset.said = photo.said ?? '';
    box.querySelector('.answered').textContent = photo.said ? `✓ ${photo.said}` : '';
    for (const button of box.querySelectorAll('[data-label]')) {
      button.setAttribute('aria-pressed', button.dataset.label === photo.said);
    }
  });
};
const go = (index) => {
  place = Math.max(0, Math.min(photos.length - 1, index));
  mark();
  cards()[place]?.focus({preventScroll: true});
  cards()[place]?.scrollIntoView({block: 'nearest'});
};

// One request after the other; what is refused is told and shown as it is on the server.
const say = (chosen) => {
  if (!chosen.length) return;
  pending += 1;
  saving();
  for (const {photo, label} of chosen) photo.said = label;
  mark();
  chain = chain.then(async () => {
    try {
      const sent = chosen.map(({photo, label}) => ({key: photo.key, label, expected: photo.expected}));
      const answer = await ask('say', {photos: sent});
      if (answer.error) { notice(answer.error); for (const {photo} of chosen) photo.said = ''; }
      for (const now of answer.photos ?? []) Object.assign(photos.find((photo) => photo.key === now.key) ?? {}, now);
      if (answer.told) notice(answer.told);
      if (answer.left !== undefined) left(answer.left);
    } catch {
      notice('The server did not answer; say it again.');
      for (const {photo} of chosen) photo.said = '';
    }
    pending -= 1;
    saving();
    mark();
  });
};
const next = () => {
  const after = photos.findIndex((photo, index) => index > place && !photo.said);
  go(after < 0 ? Math.min(place + 1, photos.length - 1) : after);
};
const choose = (label) => {
  const photo = photos[place];
  if (!photo || !label) return;
  say([{photo, label}]);
  part('.live').textContent = `${label}: ${photo.name}`;
  next();
};
const columns = () => {
  const top = cards()[0]?.offsetTop;
  return Math.max(1, cards().filter((box) => box.offsetTop === top).length);
};
const DO = {
  all: () => say(photos.filter((photo) => !photo.said).map((photo) => ({photo, label: photo.guess}))),
  next: open,
  close: () => part('.asking').close(),
  other: () => { if (photos.length) { part('.asking input').value = ''; part('.asking').showModal(); } },
};
const onKey = (event) => {
  if (!root.isConnected) { document.removeEventListener('keydown', onKey); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || part('.asking').open) return;
  if (event.target.closest?.('input, textarea, select')) return;
  const steps = {arrowright: 1, j: 1, arrowleft: -1, k: -1, arrowdown: columns(), arrowup: -columns()};
  const doing = (key) => root.querySelector(`.head [data-key="${CSS.escape(key)}"]`);
  const key = keyName(event, (pressed) => pressed in steps || /^[1-9]$/.test(pressed) || doing(pressed));
  const button = doing(key);
  const answers = cards()[place]?.querySelectorAll('[data-label]') ?? [];
  if (key in steps) go(place + steps[key]);
  else if (button && !button.disabled) DO[button.dataset.do]();
  else if (/^[1-9]$/.test(key) && answers[key - 1]) choose(answers[key - 1].dataset.label);
  else return;
  event.preventDefault();
};
document.addEventListener('keydown', onKey);
root.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]'), box = event.target.closest('.photo');
  if (button) DO[button.dataset.do]();
  else if (box) {
    place = Number(box.dataset.index);
    const label = event.target.closest('[data-label]')?.dataset.label;
    label ? choose(label) : go(place);
  }
});
part('.asking form').addEventListener('submit', () => choose(part('.asking input').value.trim()));
part('[name=analyst]').addEventListener('change', (event) => {
  localStorage.setItem('explorer.analyst', JSON.stringify(event.target.value.trim()));
});
part('[name=analyst]').value = recall();
open();
