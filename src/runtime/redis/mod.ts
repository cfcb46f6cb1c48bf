/**
 * Servers that share one Redis: they count the use of tenants together, and tell each other of adapters.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import type { AdapterChange } from "../../adapters/change.ts";
import type { SharedCounts } from "../../server/quota.ts";
import type { PeerStats } from "../../server/peers.ts";
import { RedisChanges } from "./changes.ts";
import { RedisCounts } from "./counts.ts";
import { Link } from "./link.ts";

/** How a link to other servers is opened. */
export interface PeersOptions {
  /** Seconds that a request may wait for Redis; default 0.2. */
  readonly timeoutSeconds?: number;
  /** Whether others count it among the servers that share quotas; true by default. */
  readonly joins?: boolean;
  readonly log?: (line: string) => void;
}

/** A server's other servers. */
export interface Peers {
  /** For `new Tenants(list, { counts })`. */
  readonly counts: SharedCounts;
  stats(): PeerStats;
  /** Tells the others of a change. Where Redis is away, they are told when it is back. */
  tell(change: AdapterChange): void;
  /** Whether all changes were told. */
  told(): Promise<boolean>;
  /** Makes changes that others tell of by `follow`, one after the other: those that come from now on. */
  listen(follow: (change: AdapterChange) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a server's link to others. It needs the package `ioredis`. A Redis that is away is no fault, and the log says so. Then
 * quotas are each server's part, and changed adapters are seen when stores are next looked at.
 *
 * @param url `redis://[user:password@]host:port/database` or `rediss://...`.
 * @throws ConfigError for another text, for a password or a database that Redis refuses, and where the package is missing.
 */
export async function openPeers(
  url: string,
  { log = () => {}, timeoutSeconds = 0.2, joins = true }: PeersOptions = {},
): Promise<Peers> {
  const server = randomUUID();
  const link = await Link.open(url, { server, log, joins, timeoutMs: 1000 * timeoutSeconds });
  const counts = new RedisCounts(link), changes = new RedisChanges(link, { server, log });
  return {
    counts,
    stats: () => ({ isUp: link.isUp, servers: link.servers, alone: counts.alone }),
    tell: (change) => changes.tell(change),
    told: () => changes.told(),
    listen: (follow) => changes.listen(follow),
    async close() {
      changes.close();
      await counts.close();
      await link.close();
    },
  };
}
