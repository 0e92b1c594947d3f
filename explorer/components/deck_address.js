// What the deck's address holds, so that a reload comes back to the same view. Knows no page.
const FIELDS = ['order', 'state', 'by_label', 'by_factor', 'text'];
const viewOf = (query) => {
  const view = {order: 'uncertain', state: 'waiting', by_label: '', by_factor: '', text: '', seed: 0};
  for (const name of FIELDS) if (query.get(name)) view[name] = query.get(name);
  view.seed = Number(query.get('seed')) || 0;
  return view;
};
const modeOf = (query) => query.get('mode') === 'grid' ? 'grid' : 'focus';
const queryOf = (before, view, mode, item) => {
  const now = new URLSearchParams(before);
  for (const name of FIELDS) view[name] ? now.set(name, view[name]) : now.delete(name);
  view.order === 'random' ? now.set('seed', view.seed) : now.delete('seed');
  mode === 'grid' ? now.set('mode', 'grid') : now.delete('mode');
  item ? now.set('item', item) : now.delete('item');
  return now;
};
