import assert from "node:assert/strict";
import { test } from "node:test";
import { Contests, winner } from "../src/contest.ts";

/** A device that times two alternatives: its clock says what it is told, when it is told. */
function fakeDevice() {
  const waiting: { readonly tell: (us: readonly number[]) => void; readonly fail: (error: Error) => void }[] =
    [];
  let revision = 0;
  const contest = {
    usual: "usual",
    hold: async (): Promise<string> => {
      const { promise, resolve, reject } = Promise.withResolvers<readonly number[]>();
      waiting.push({ tell: resolve, fail: reject });
      return winner(["usual", "other"], await promise);
    },
    revision: () => revision,
  };
  return {
    contest,
    held: () => waiting.length,
    tell: (...us: readonly number[]) => waiting.at(-1)!.tell(us),
    fail: () => waiting.at(-1)!.fail(new Error("the clock stands still")),
    replace: () => void revision++,
  };
}

test("winner() is the fastest alternative, if it takes less than 97 % of the usual one's time", () => {
  const of = (...times: readonly number[]): string => winner(["usual", "second", "third"], times);
  assert.equal(of(100, 96, 90), "third");
  assert.equal(of(100, 90, 96), "second");
  assert.equal(of(100, 96.9, 120), "second");
  assert.equal(of(100, 97, 120), "usual");
  assert.equal(of(100, 98, 99), "usual");
  assert.equal(of(100, 50, 50), "second", "the earlier of equals");
  assert.equal(of(0, 0, 0), "usual");
});

test("winner() leaves out what cannot run, and is none where nothing can", () => {
  const of = (...times: readonly number[]): string => winner(["usual", "second", "third"], times);
  assert.equal(of(100, Infinity, 96), "third");
  assert.equal(of(100, Infinity, 98), "usual");
  assert.equal(of(Infinity, 300, 200), "third");
  assert.throws(() => of(Infinity, Infinity, Infinity), /^Error: Cannot choose an alternative/);
});

test("Contests holds one contest for all who ask for a key, and keeps its answer", async () => {
  const { contest, held, tell } = fakeDevice();
  const contests = new Contests<string>();
  const asked = [contests.answer("a", contest), contests.answer("a", contest)];
  assert.equal(held(), 1);
  tell(100, 50);
  assert.deepEqual(await Promise.all(asked), ["other", "other"]);
  assert.equal(await contests.answer("a", contest), "other");
  assert.equal(held(), 1);
});

test("Contests has an answer for each key", async () => {
  const { contest, held, tell } = fakeDevice();
  const contests = new Contests<string>();
  const first = contests.answer("a", contest);
  tell(100, 50);
  const second = contests.answer("b", contest);
  assert.equal(held(), 2);
  tell(50, 100);
  assert.deepEqual(await Promise.all([first, second]), ["other", "usual"]);
  assert.deepEqual([await contests.answer("a", contest), await contests.answer("b", contest)], [
    "other",
    "usual",
  ]);
});

test("Contests takes the usual alternative where a contest fails, and does not ask again", async () => {
  const { contest, held, fail, tell } = fakeDevice();
  const contests = new Contests<string>();
  const failing = contests.answer("a", contest);
  fail();
  assert.equal(await failing, "usual");
  const untimed = contests.answer("b", contest);
  tell(Infinity, Infinity);
  assert.equal(await untimed, "usual");
  assert.deepEqual([await contests.answer("a", contest), await contests.answer("b", contest)], [
    "usual",
    "usual",
  ]);
  assert.equal(held(), 2);
});

test("Contests keeps no answer, nor a failure, that was found while what is timed was replaced", async () => {
  const { contest, held, tell, fail, replace } = fakeDevice();
  const contests = new Contests<string>();
  const asked = [contests.answer("a", contest), contests.answer("a", contest)];
  replace();
  tell(100, 50);
  assert.deepEqual(await Promise.all(asked), ["other", "other"], "of those who had asked");

  const failing = contests.answer("a", contest);
  assert.equal(held(), 2);
  replace();
  fail();
  assert.equal(await failing, "usual");

  const again = contests.answer("a", contest);
  assert.equal(held(), 3);
  tell(100, 50);
  assert.equal(await again, "other");
  replace();
  assert.equal(await contests.answer("a", contest), "other", "what is replaced later changes no answer");
  assert.equal(held(), 3);
});
