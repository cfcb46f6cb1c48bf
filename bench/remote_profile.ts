/**
 * CPU profiles of another process, by its inspector (`deno run --inspect=ADDRESS`).
 *
 * @module
 */

/** A profile that runs. */
export interface RemoteProfile {
  /** Ends it; gives a profile as Chrome's developer tools read it. */
  stop(): Promise<unknown>;
}

/** Starts a profile of the process whose inspector listens at an address (HOST:PORT). */
export async function startProfile(address: string): Promise<RemoteProfile> {
  const [{ webSocketDebuggerUrl }] = await (await fetch(`http://${address}/json`)).json();
  const socket = new WebSocket(webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no inspector answers at ${address}`));
  });
  const waiting = new Map<number, (result: { readonly profile?: unknown }) => void>();
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(data);
    waiting.get(id)?.(result);
    waiting.delete(id);
  };
  let calls = 0;
  const call = (method: string): Promise<{ readonly profile?: unknown }> => {
    const id = ++calls;
    socket.send(JSON.stringify({ id, method }));
    return new Promise((resolve) => waiting.set(id, resolve));
  };
  await call("Profiler.enable");
  await call("Profiler.start");
  return {
    async stop() {
      const { profile } = await call("Profiler.stop");
      socket.close();
      return profile;
    },
  };
}
