/**
 * Keys of an S3-compatible bucket, all pages of them.
 *
 * @module
 */

/** A page has 1000 keys: more pages are an endpoint that repeats itself. */
const mostPages = 10_000;

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const unescapeXml = (text: string): string =>
  text.replace(/&(amp|lt|gt|quot|apos);/g, (_, name) => entities[name])
    .replace(
      /&#(x?)([0-9a-fA-F]+);/g,
      (_, hex, digits) => String.fromCodePoint(parseInt(digits, hex ? 16 : 10)),
    );

const textOf = (xml: string, tag: string): string | undefined => {
  const found = new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1];
  return found === undefined ? undefined : unescapeXml(found);
};

/**
 * Lists the keys of a bucket that begin with `base`, by ListObjectsV2.
 *
 * @param options Those of unstorage's driver `s3`.
 * @throws Error for an answer that is no list.
 */
export async function listS3(options: Readonly<Record<string, unknown>>, base: string): Promise<string[]> {
  const { AwsClient } = await import("aws4fetch");
  const { accessKeyId, secretAccessKey, region, endpoint, bucket } = options as Record<string, string>;
  // The store's own timeout is all the patience there is.
  const client = new AwsClient({ service: "s3", accessKeyId, secretAccessKey, region, retries: 0 });
  const [name, ...folders] = bucket.split("/");
  const prefix = [...folders, base.replace(/:$/, "").replaceAll(":", "/"), ""].join("/");
  const keys: string[] = [];
  let token: string | undefined;
  for (let pages = 0; pages < mostPages; pages++) {
    const url = new URL(`${endpoint.replace(/\/$/, "")}/${name}`);
    url.searchParams.set("list-type", "2");
    url.searchParams.set("prefix", prefix);
    if (token !== undefined) url.searchParams.set("continuation-token", token);
    const answer = await client.fetch(url.href);
    const xml = await answer.text();
    if (!answer.ok || !xml.includes("<ListBucketResult")) {
      throw new Error(`Cannot list the bucket: status ${answer.status}`);
    }
    const outer = folders.length === 0 ? 0 : folders.join("/").length + 1;
    for (const [, key] of xml.matchAll(/<Key>([^<]*)<\/Key>/g)) keys.push(unescapeXml(key).slice(outer));
    token = textOf(xml, "NextContinuationToken");
    if (textOf(xml, "IsTruncated") !== "true" || token === undefined) return keys;
  }
  throw new Error(`Cannot list the bucket: it has more than ${mostPages} pages`);
}
