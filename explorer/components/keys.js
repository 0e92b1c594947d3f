// The name of a pressed key: what it types, and where a layout has no such letter, its place on the keyboard. AltGr and
// Option are no modifiers where they only type a character that is known.
const PLACES = {BracketLeft: '[', BracketRight: ']', Slash: '/'};
const keyName = (event, isKnown) => {
  const held = (event.ctrlKey || event.metaKey ? 'ctrl+' : '') + (event.altKey ? 'alt+' : '');
  const typed = event.key.toLowerCase();
  const named = (key) => held + (held && event.shiftKey ? 'shift+' : '') + key;
  const alone = event.getModifierState?.('AltGraph') || (event.altKey && !event.ctrlKey && !event.metaKey);
  if (alone && typed.length === 1 && isKnown(typed)) return typed;
  if (event.altKey || isKnown(named(typed))) return named(typed);
  const there = /^(?:Key|Digit)(.)$/.exec(event.code)?.[1].toLowerCase() ?? PLACES[event.code];
  return there && isKnown(named(there)) ? named(there) : named(typed);
};
