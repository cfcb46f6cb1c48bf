/**
 * What a server knows of others that share quotas with it.
 *
 * @module
 */

/** See the module's documentation. */
export interface PeerStats {
  /** Whether the place of the shared counts answered the last call. */
  readonly isUp: boolean;
  /** Servers that shared it when it last answered, this one among them. */
  readonly servers: number;
  /** Requests that this server let in or refused by its part of the quotas alone. */
  readonly alone: number;
}
