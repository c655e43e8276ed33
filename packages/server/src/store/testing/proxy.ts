// Owns a way to a server that can be made as bad as networks are: each direction held up, slowed or emptied into nothing, connections
// broken, left hanging or refused. What gets through is what was sent, in order.
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export type Target = { readonly host: string; readonly port: number } | { readonly path: string };

/** What becomes of the bytes of one direction: passed on, kept until it is `open` again, dropped, or passed on later. */
export type Way = 'open' | 'held' | 'lost' | { readonly delayMs: number };

/** Inward: from the clients to the server. */
export type Direction = 'inward' | 'outward';

export interface Proxy extends AsyncDisposable {
  /** HOST:PORT; the same for the life of the proxy. */
  readonly address: string;
  readonly port: number;
  /** How many pieces were held up, lost or slowed, and how many connections were broken or left hanging. */
  harm(): number;
  /** Of both directions, or of one. Connections that are made later are treated alike. */
  set(way: Way, direction?: Direction): void;
  /** Keeps every connection up and silent, and takes new ones without an answer, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Breaks every connection; new ones get through. Returns how many there were. */
  sever(): number;
  /** Breaks every connection on the server's side alone: clients go on waiting at a silent one. New ones get through. */
  dangle(): number;
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Takes connections again, at the same port. */
  open(): Promise<void>;
  /** New connections lead there. */
  lead(target: Target): void;
}

export interface TappedConnection {
  /** Breaks both sides. */
  break(): void;
}

/** Sees the bytes of one connection go by, and passes on what it likes. */
export type Tap = Readonly<Record<Direction, (chunk: Buffer, pass: (bytes: Buffer) => void) => Promise<void> | void>>;

export interface ProxyOptions {
  /** Default: all passes. */
  readonly tap?: (connection: TappedConnection) => Tap;
}

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** The far side is gone, and the near one is not to know. */
  dangling: boolean;
}

export async function startProxy(target: Target, { tap }: ProxyOptions = {}): Promise<Proxy> {
  let leadsTo = target;
  const links = new Set<Link>();
  const ways: Record<Direction, Way> = { inward: 'open', outward: 'open' };
  let changed = Promise.withResolvers<void>();
  let harm = 0;

  /** Waits as the direction says. Returns whether the piece goes on. */
  async function admit(direction: Direction): Promise<boolean> {
    if (ways[direction] !== 'open') harm++;
    while (ways[direction] === 'held') await changed.promise;
    const way = ways[direction];
    if (typeof way === 'object') await delay(way.delayMs);
    return way !== 'lost';
  }

  async function pump(link: Link, direction: Direction, through: Tap | undefined): Promise<void> {
    const [from, to] = direction === 'inward' ? [link.near, link.far] : [link.far, link.near];
    const pass = (bytes: Buffer): void => void to.write(bytes);
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (!(await admit(direction))) continue;
        if (through === undefined) pass(chunk);
        else await through[direction](chunk, pass);
        if (to.writableNeedDrain) await drained(to);
      }
      if (!link.dangling) to.end();
    } catch {
      if (!link.dangling) to.destroy();
    }
  }

  // Small pieces are not kept for company: that would cost 40 ms a round trip.
  const server = createServer({ noDelay: true }, (near) => {
    const far = createConnection({ ...leadsTo, noDelay: true });
    const link: Link = { near, far, dangling: false };
    links.add(link);
    near.on('error', ignore).once('close', () => links.delete(link));
    far.on('error', ignore);
    const through = tap?.({ break: () => breakLink(link) });
    void pump(link, 'inward', through);
    void pump(link, 'outward', through);
  });

  function breakLink({ near, far }: Link): void {
    // To reset a socket that is being shut down fails unseen, leaves it open, and keeps Node from exiting (24.21).
    if (near.writableEnded) near.destroy();
    else near.resetAndDestroy();
    far.destroy();
  }

  function breakAll(breakOne: (link: Link) => void): number {
    const broken = [...links];
    for (const link of broken) breakOne(link);
    harm += broken.length;
    return broken.length;
  }

  async function listen(at: number): Promise<number> {
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async function cut(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    breakAll(breakLink);
    await closed;
  }

  function set(way: Way, direction?: Direction): void {
    if (direction !== 'outward') ways.inward = way;
    if (direction !== 'inward') ways.outward = way;
    changed.resolve();
    changed = Promise.withResolvers();
  }

  const port = await listen(0);
  return {
    address: `127.0.0.1:${port}`,
    port,
    harm: () => harm,
    set,
    freeze: () => set('held'),
    thaw: () => set('open'),
    sever: () => breakAll(breakLink),
    dangle: () =>
      breakAll((link) => {
        link.dangling = true;
        link.far.destroy();
      }),
    cut,
    async open() {
      await listen(port);
    },
    lead(elsewhere) {
      leadsTo = elsewhere;
    },
    async [Symbol.asyncDispose]() {
      set('open');
      await cut();
    },
  };
}

function ignore(): void {
  // How a connection ended shows in what it no longer passes on.
}

async function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('drain', resolve).once('close', resolve);
  await promise;
  socket.off('drain', resolve).off('close', resolve);
}
