// What was decided, on its way to the server: one request after the other, repeated under the same id until the server
// has it on the disk. Knows no page: `ask` sends, `told` hears how many wait and whether a try has just failed, `idle`
// that none waits any longer.
const queueOf = ({ask, told, idle, first = 500, longest = 10000}) => {
  let chain = Promise.resolve(), pending = 0;
  const send = (name, data, done) => {
    pending += 1;
    told(pending, false);
    chain = chain.then(async () => {
      for (let wait = first; ; wait = Math.min(2 * wait, longest)) {
        try {
          const answer = await ask(name, data());
          if (answer && (answer.items || answer.error)) { pending -= 1; told(pending, false); done(answer); break; }
        } catch { /* the server is away: the same request again */ }
        told(pending, true);
        await new Promise((go) => setTimeout(go, wait));
      }
      if (!pending) idle();
    });
  };
  return {send, pending: () => pending};
};
