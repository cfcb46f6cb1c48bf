/**
 * What Redis says of a connection that it refuses.
 *
 * @module
 */
import type { Redis } from "ioredis";

/** Redis' own words, and the command that it refused. */
type Refusal = Error & { readonly command?: { readonly name: string } };

/** Whether Redis refuses the address's password or database: it would again. */
function isRefusal({ name, message, command }: Refusal): boolean {
  if (name !== "ReplyError" || /max number of clients/.test(message)) return false;
  return command?.name === "select" || /^(NOAUTH|WRONGPASS|ERR invalid password)/.test(message);
}

/**
 * Hears a client's errors, which it would print. A connection that is refused its database ends before it sends anything:
 * the client would go on in database 0.
 *
 * @param refused Told why Redis refuses the password or the database.
 */
export function hearErrors(
  redis: Pick<Redis, "status" | "on" | "disconnect">,
  refused: (error: Error) => void = () => {},
): void {
  redis.on("error", (error: Refusal) => {
    if (!isRefusal(error)) return;
    refused(error);
    if (redis.status === "connect") redis.disconnect(true);
  });
}
