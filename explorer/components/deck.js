// The behaviour of the deck. Only a window of pairs is ever here; the server has the rest and the truth. What is sent
// is told in deck_queue.js, what the address holds in deck_address.js; both come before this.
const AHEAD = 6;      // pairs fetched before they are needed
const PAGE = 24;      // pairs on a page of the grid
const root = element.querySelector('.triage');
const part = (name) => root.querySelector(name);
const stage = part('.stage');
const keymap = JSON.parse(root.dataset.keymap);
const actions = Object.keys(keymap);

// What belongs to this browser
const remember = (name, value) => localStorage.setItem('explorer.' + name, JSON.stringify(value));
const recall = (name, otherwise) => {
  try { return JSON.parse(localStorage.getItem('explorer.' + name)) ?? otherwise; } catch { return otherwise; }
};
let keys = {...keymap, ...recall('keys', {})};

// What belongs to the address: a reload comes back here
const query = new URLSearchParams(location.search);
const view = viewOf(query);
let mode = modeOf(query);

let list = [];          // the window: pairs in order
let place = 0;          // the one that is shown or has the cursor
let start = 0, total = 0;
let others = null;      // the tau of the shown pair, once asked for
let selected = new Set(), anchor = 0, everything = false;
let ended = {front: false, back: false};
let asking = null;
let turn = 0;           // counts openings, so that a late answer to an earlier one is dropped

const who = () => ({analyst: recall('analyst', ''), blind: recall('blind', false)});
const ask = (name, data) => server[name]({...view, ...who(), ...data});
const fresh = () => crypto.randomUUID?.() ||
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join('');
const here = () => list[place];
const say = (text) => { part('.live').textContent = text; };
const notice = (text) => { const box = part('.notice'); box.textContent = text; box.hidden = !text; };

let written = 0;
const address = () => {
  clearTimeout(written);
  written = setTimeout(() => {
    const now = queryOf(location.search, view, mode, here()?.key);
    history.replaceState(history.state, '', location.pathname + '?' + now);  // Gradio's base is the first page
  }, 250);
};

// Saving
const saving = (pending, failed) => {
  part('.saved').textContent = failed ? 'Not saved yet, trying again…' : pending ? 'Saving…' : 'Saved';
  part('.saved').classList.toggle('busy', pending > 0);
};
const {send, pending} = queueOf({ask, told: saving, idle: () => { tallySoon(); changed(); }});
window.addEventListener('beforeunload', (event) => { if (pending() && root.isConnected) event.preventDefault(); });

let telling = 0;
const changed = () => { clearTimeout(telling); telling = setTimeout(() => trigger('decided', {}), 600); };
let tallying = 0;
const tallySoon = () => { clearTimeout(tallying); tallying = setTimeout(tally, 200); };
const tally = async () => {
  const answer = await ask('tally', {});
  if (!answer.counts) return;
  for (const tab of root.querySelectorAll('[data-do=state]')) {
    tab.querySelector('b').textContent = answer.counts[tab.dataset.state];
    tab.setAttribute('aria-pressed', tab.dataset.state === view.state);
  }
  options('label', answer.classes, 'by_label');
  options('factor', answer.factors, 'by_factor');
  words = {label: answer.classes, tag: answer.tags};
  part('[name=analyst]').hidden = !!answer.analyst;  // whoever signed in has that name
  part('.signed-in').textContent = answer.analyst ? `Signed in as ${answer.analyst}` : '';
  for (const [name, count] of [['undo', answer.undo], ['redo', answer.redo]]) {
    part(`[data-do=${name}]`).disabled = !count && !pending();
  }
};
let words = {label: [], tag: []};
const options = (name, values, field) => {
  const box = part(`select[name=${name}]`);
  if (box.options.length !== values.length + 1) {
    box.replaceChildren(box.options[0], ...values.map((value) => new Option(value, value)));
  }
  box.value = view[field];
};

// Windows
const decode = (items) => {
  for (const item of items) {
    for (const [, url] of item.markup.matchAll(/ src="([^"]+)"/g)) { new Image().src = url; }
  }
};
const open = async (at) => {
  const mine = ++turn;
  const large = mode === 'focus';
  const answer = await ask('look', {at: at || '', count: large ? AHEAD : PAGE, large});
  if (mine !== turn) return;
  if (answer.error) { notice(answer.error); return; }
  list = answer.items; start = answer.start; total = answer.total; place = 0; others = null;
  selected.clear(); everything = false; anchor = 0;
  ended = {front: start === 0, back: start + list.length >= total};
  root.dataset.empty = total === 0;
  if (!list.length && total && at) { await open(''); return; }
  if (!list.length) stage.innerHTML = answer.empty; else show();
  tallySoon();
  address();
};
const coming = {front: null, back: null};  // what is being fetched, so that a key pressed meanwhile waits for it
const more = (back) => {
  const edge = back ? 'front' : 'back';
  if (!list.length || mode !== 'focus' || ended[edge]) return Promise.resolve();
  coming[edge] ??= fetchMore(back).finally(() => { coming[edge] = null; });
  return coming[edge];
};
const fetchMore = async (back) => {
  const edge = back ? list[0] : list[list.length - 1];
  const mine = turn;
  const answer = await ask('look', {[back ? 'before' : 'after']: edge.key, count: AHEAD, large: true});
  if (mine !== turn || answer.error) return;
  const known = new Set(list.map((item) => item.key));
  const items = answer.items.filter((item) => !known.has(item.key));
  ended[back ? 'front' : 'back'] = !items.length;
  decode(items);
  if (back) { list.unshift(...items); place += items.length; start = Math.max(0, start - items.length); }
  else list.push(...items);
  if (!back && place > 40) { list.splice(0, 20); place -= 20; start += 20; ended.front = false; }
  where();
};

// Showing
const where = () => {
  const counted = Math.max(total, start + list.length);
  const last = mode === 'grid' ? `${start + 1}–${start + list.length}` : `${start + place + 1}`;
  for (const box of root.querySelectorAll('.where')) box.textContent = list.length ? `${last} of ${counted}` : '';
};
const frame = (name, item, index) => {
  const box = document.createElement(name);
  box.className = 'item';
  box.dataset.key = item.key;
  box.dataset.index = index;
  box.setAttribute('aria-label', item.title);
  box.innerHTML = item.markup + '<div class="said-by"></div>';
  mark(box, item);
  return box;
};
const mark = (box, item) => {
  box.dataset.state = item.state;
  box.querySelector('.said-by').innerHTML = item.opinion;
};
const show = () => {
  root.dataset.mode = mode;
  part('[data-do=grid]').setAttribute('aria-pressed', mode === 'grid');
  if (mode === 'focus') {
    const box = frame('article', here(), place);
    const count = document.createElement('span');
    count.className = 'where hint';
    box.prepend(count);
    stage.replaceChildren(box);
    if (place > list.length - AHEAD) more(false);
    if (place < 2) more(true);
  } else {
    const grid = document.createElement('div');
    grid.className = 'deck';
    grid.replaceChildren(...list.map((item, index) => {
      const card = frame('article', item, index);
      card.classList.add('card');
      card.tabIndex = index === place ? 0 : -1;
      const tick = document.createElement('input');
      tick.type = 'checkbox';
      tick.setAttribute('aria-label', 'Select');
      card.prepend(tick);
      return card;
    }));
    stage.replaceChildren(grid);
    choose();
  }
  pressed();
  where();
};
const pressed = () => {
  for (const name of ['keep', 'reject', 'unsure']) {
    part(`.verdicts [data-do=${name}]`).setAttribute('aria-pressed', mode === 'focus' && here()?.state === name);
  }
};
const choose = () => {
  for (const card of stage.querySelectorAll('.card')) {
    const index = Number(card.dataset.index);
    const on = everything || selected.has(list[index].key);
    card.classList.toggle('selected', on);
    card.classList.toggle('cursor', index === place);
    card.tabIndex = index === place ? 0 : -1;
    card.querySelector('input').checked = on;
  }
  const count = everything ? total : selected.size;
  part('.chosen').textContent = count ? `${count} selected` : '';
  part('.how-many').textContent = total;
};
const update = (items) => {
  for (const item of items) {
    const known = list.find((pair) => pair.key === item.key);
    if (!known) continue;
    Object.assign(known, item);
    const box = [...stage.querySelectorAll('.item')].find((candidate) => candidate.dataset.key === item.key);
    if (box) mark(box, known);
  }
  pressed();
};
const go = (step) => {
  const next = place + step;
  if (!list.length) return;
  if (next < 0 || next >= list.length) {
    if (mode === 'grid') { page(step > 0); return; }
    const edge = step > 0 ? 'back' : 'front';
    if (!ended[edge]) { more(step < 0).then(() => { if (list[place + step]) go(step); }); return; }
    if (step > 0) finish();
    return;
  }
  place = next;
  others = null;
  if (mode === 'focus') show(); else { choose(); stage.querySelector('.card.cursor')?.focus(); }
  say(here().title);
  address();
};
const finish = () => {
  say('That was the last one.');
  if (view.state === 'all' || pending()) { notice('That was the last one.'); return; }
  open('');
};
const page = async (on) => {
  if (!list.length || (on ? start + list.length >= total && view.state === 'all' : start === 0)) return;
  const mine = ++turn;
  const data = on ? {after: list[list.length - 1].key} : {before: list[0].key};
  const answer = await ask('look', {...data, count: PAGE, large: false});
  if (mine !== turn || answer.error) return;
  if (!answer.items.length) { if (on && view.state !== 'all') open(''); return; }
  list = answer.items; start = answer.start; total = answer.total; place = 0; anchor = 0;
  selected.clear(); everything = false;
  show();
  stage.querySelector('.card')?.focus();
  address();
};

// Deciding
const targets = () => mode === 'grid' && selected.size ? list.filter((item) => selected.has(item.key)) : [here()];
const decide = (verdict, reason = '') => {
  if (!list.length) return;
  notice('');
  const items = targets(), act = fresh(), all = mode === 'grid' && everything;
  const scope = {...view};
  for (const item of all ? list : items) item.state = verdict;
  const data = () => ({...scope, act, verdict, reason, all,
    items: items.map((item) => ({key: item.key, expected: item.expected}))});
  send('decide', data, (answer) => settle(answer, items));
  update(all ? list : items);
  const single = !all && items.length === 1;
  say(single ? `${verdict}: ${items[0].title}` : `${verdict}: ${all ? total : items.length} pairs`);
  if (mode === 'grid' && !single) { selected.clear(); everything = false; choose(); }
  else if (single) { selected.clear(); go(1); }
};
const settle = (answer, items) => {
  if (answer.error) {
    notice(answer.error);
    if (answer.items) update(answer.items); else open(here()?.key);
    const index = list.findIndex((item) => item.key === items[0]?.key);
    if (mode === 'focus' && index >= 0) { place = index; show(); }
    return;
  }
  update(answer.items);
};
const step = (name) => {
  notice('');
  const act = fresh();
  send(name, () => ({act}), (answer) => {
    if (answer.error) { notice(answer.error); return; }
    if (!answer.items.length) { say(name === 'take_back' ? 'Nothing to undo.' : 'Nothing to redo.'); return; }
    update(answer.items);
    say(`${name === 'take_back' ? 'Undone' : 'Done again'}: ${answer.items.length}`);
    if (mode === 'grid') return;
    const index = list.findIndex((item) => item.key === answer.items[0].key);
    if (index < 0) { open(answer.items[0].key); return; }
    place = index;
    show();
    address();
  });
};
const note = (field) => {
  if (!here()) return;
  asking = {field, items: targets()};
  const dialog = part('.asking');
  dialog.querySelector('span').textContent = field === 'label' ? 'What does the edit really show?' : 'Tag';
  dialog.querySelector('datalist').replaceChildren(...words[field].map((word) => new Option(word, word)));
  dialog.querySelector('input').value = '';
  dialog.showModal();
};
const strength = async (by) => {
  if (mode !== 'focus' || !here()) return;
  const shown = here();
  if (!others) {
    const answer = await ask('strengths', {key: shown.key});
    if (answer.error || here() !== shown) return;
    others = answer.items;
    decode(others);
  }
  const next = others[others.findIndex((item) => item.key === here().key) + by];
  if (!next) { say(by < 0 ? 'No bolder edit.' : 'No more careful edit.'); return; }
  list[place] = next;
  show();
  say(next.title);
};
const toggle = () => {
  mode = mode === 'grid' ? 'focus' : 'grid';
  root.dataset.mode = mode;
  open(here()?.key);
};
const pick = (index, event) => {
  if (event?.shiftKey) {
    for (let n = Math.min(anchor, index); n <= Math.max(anchor, index); n += 1) selected.add(list[n].key);
  } else {
    selected.has(list[index].key) ? selected.delete(list[index].key) : selected.add(list[index].key);
    anchor = index;
  }
  everything = false;
  place = index;
  choose();
};

// Keys
const labels = () => {
  const shown = (key) => key.replace('arrow', '').replace('shift+', '⇧').toUpperCase();
  for (const box of root.querySelectorAll('[data-key-of]')) box.textContent = shown(keys[box.dataset.keyOf][0]);
  for (const box of root.querySelectorAll('[data-keys-of]')) {
    box.textContent = keys[box.dataset.keysOf].map(shown).join('  ');
  }
};
const isKnown = (key) => key === 'ctrl+a' || actions.some((name) => keys[name].includes(key));
const pressedKey = (event) => keyName(event, isKnown);
let remapping = '';
const remap = (event) => {
  event.preventDefault();
  if (['Shift', 'Control', 'Alt', 'Meta'].includes(event.key)) return;
  const key = pressedKey(event);
  const taken = actions.find((name) => name !== remapping && keys[name].includes(key));
  if (event.key !== 'Escape' && !taken) {
    keys = {...keys, [remapping]: [key]};
    remember('keys', keys);
  }
  say(taken ? `That key does "${taken}" already.` : '');
  const button = part(`[data-do=remap][data-action="${remapping}"]`);
  button.textContent = taken ? `taken by “${taken}”` : 'change';
  remapping = '';
  labels();
};
const DO = {
  next: () => go(1), previous: () => go(-1),
  keep: () => decide('keep'), reject: () => decide('reject'), unsure: () => decide('unsure'),
  label: () => note('label'), tag: () => note('tag'),
  undo: () => step('take_back'), redo: () => step('do_again'),
  bolder: () => strength(-1), milder: () => strength(1),
  grid: toggle, select: () => { if (mode === 'grid' && here()) pick(place); },
  search: () => part('[name=text]').focus(), help: () => part('.sheet').showModal(),
  close: () => root.querySelector('dialog[open]')?.close(),
  'page-on': () => page(true), 'page-back': () => page(false),
  'page-all': () => { for (const item of list) selected.add(item.key); everything = false; choose(); },
  all: () => { everything = true; choose(); },
  none: () => { selected.clear(); everything = false; choose(); },
  unmap: () => { keys = {...keymap}; remember('keys', {}); labels(); },
};
const act = (name, button) => {
  if (name.startsWith('reason-')) {
    const text = part(`.reasons [data-do="${name}"]`).firstChild.textContent;
    decide('reject', text);
  } else if (name === 'state') {
    view.state = button.dataset.state;
    open('');
  } else if (name === 'remap') {
    remapping = button.dataset.action;
    button.textContent = 'press a key…';
  } else DO[name]?.();
};
const onKey = (event) => {
  if (!root.isConnected) { document.removeEventListener('keydown', onKey); return; }
  if (remapping) { remap(event); return; }
  if (event.isComposing || root.querySelector('dialog[open]')) return;
  const field = event.target.closest?.('input:not([type=checkbox]), textarea, select, [contenteditable=true]');
  if (field) {
    if (event.key === 'Escape' && root.contains(field)) {
      field.blur();
      if (field.name === 'text') { field.value = ''; searched(); }  // the browser empties it without telling
    }
    return;
  }
  const key = pressedKey(event);
  const name = actions.find((action) => keys[action].includes(key));
  if (name) { event.preventDefault(); act(name); return; }
  if (mode !== 'grid' || !event.target.closest('.triage')) return;
  if (key === 'ctrl+a') { event.preventDefault(); DO['page-all'](); }
  else if (key === 'escape') DO.none();
  else if (key === 'enter' && event.target.matches('.card')) toggle();
  else if (key === 'pagedown' || key === 'pageup') { event.preventDefault(); page(key === 'pagedown'); }
};
document.addEventListener('keydown', onKey);

root.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (button) { act(button.dataset.do, button); button.closest('.verdicts') && button.blur(); return; }
  const card = event.target.closest('.card');
  if (card) pick(Number(card.dataset.index), event);
});
root.addEventListener('dblclick', (event) => {
  const card = event.target.closest('.card');
  if (!card) return;
  place = Number(card.dataset.index);
  toggle();
});
root.addEventListener('change', (event) => {
  const {name, value, checked} = event.target;
  if (name === 'order') {
    view.order = value;
    if (value === 'random') view.seed = 1 + Math.floor(Math.random() * 1e6);
  } else if (name === 'label' || name === 'factor') view['by_' + name] = value;
  else if (name === 'analyst') remember('analyst', value.trim());
  else if (name === 'blind') remember('blind', checked);
  else return;
  event.target.blur();
  open(name === 'analyst' || name === 'blind' ? here()?.key : '');
});
let typing = 0;
const searched = () => {
  clearTimeout(typing);
  typing = setTimeout(() => { view.text = part('[name=text]').value; open(''); }, 250);
};
part('[name=text]').addEventListener('input', searched);
part('.asking form').addEventListener('submit', (event) => {
  const value = part('.asking input').value.trim();
  if (!asking || (!value && asking.field === 'tag')) return;
  const {field, items} = asking, act = fresh();
  send('decide', () => ({act, [field]: value,
    items: items.map((item) => ({key: item.key, expected: item.expected}))}), (answer) => settle(answer, items));
  asking = null;
});

part('[name=order]').value = view.order;
part('[name=text]').value = view.text;
part('[name=analyst]').value = recall('analyst', '');
part('[name=blind]').checked = recall('blind', false);
root.dataset.mode = mode;
labels();
open(query.get('item') || '');
