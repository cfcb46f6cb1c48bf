/**
 * How well a head predicts labels, by the names and rules of scikit-learn.
 *
 * @module
 */

/** Of classes. */
export interface ClassMetrics {
  /** The part of right predictions. */
  readonly accuracy: number;
  /** F1 of class 1 where there are two classes, else the mean of all classes' F1; 0 of a class that is never right. */
  readonly f1: number;
  /** Matthews' correlation coefficient; 0 where all labels, or all predictions, are one class. */
  readonly matthews: number;
  /** Rows are labels, columns predictions: how many examples. */
  readonly confusion: readonly (readonly number[])[];
}

/** Of numbers. */
export interface RegressionMetrics {
  /** Means of the squared and of the absolute errors. */
  readonly mse: number;
  readonly mae: number;
  /** Correlations of values and of ranks; NaN where all labels, or all predictions, are equal. */
  readonly pearson: number;
  readonly spearman: number;
}

/** How many examples of each label have each prediction. */
export function confusionOf(
  labels: readonly number[],
  predictions: readonly number[],
  classes: number,
): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  labels.forEach((label, i) => counts[label][predictions[i]]++);
  return counts;
}

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Metrics of a confusion matrix that has an example. */
export function classMetrics(confusion: readonly (readonly number[])[]): ClassMetrics {
  const actual = confusion.map(sumOf), total = sumOf(actual);
  const predicted = confusion.map((_, c) => sumOf(confusion.map((row) => row[c])));
  const right = confusion.map((row, c) => row[c]), hits = sumOf(right);
  const f1s = right.map((count, c) =>
    actual[c] + predicted[c] === 0 ? 0 : 2 * count / (actual[c] + predicted[c])
  );
  const products = (a: readonly number[], b: readonly number[]): number => sumOf(a.map((x, i) => x * b[i]));
  const covariance = hits * total - products(actual, predicted);
  const spread = (total ** 2 - products(actual, actual)) * (total ** 2 - products(predicted, predicted));
  return {
    accuracy: hits / total,
    f1: confusion.length === 2 ? f1s[1] : sumOf(f1s) / f1s.length,
    matthews: spread === 0 ? 0 : covariance / Math.sqrt(spread),
    confusion,
  };
}

/** Pearson's correlation of two lists of one length. */
export function pearson(a: readonly number[], b: readonly number[]): number {
  const meanA = sumOf(a) / a.length, meanB = sumOf(b) / b.length;
  let both = 0, ofA = 0, ofB = 0;
  a.forEach((value, i) => {
    both += (value - meanA) * (b[i] - meanB);
    ofA += (value - meanA) ** 2;
    ofB += (b[i] - meanB) ** 2;
  });
  return both / Math.sqrt(ofA * ofB);
}

/** Ranks from 1 on; equal values share the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const found = new Array<number>(values.length);
  for (let begin = 0; begin < order.length;) {
    let end = begin;
    while (end < order.length && values[order[end]] === values[order[begin]]) end++;
    for (let i = begin; i < end; i++) found[order[i]] = (begin + 1 + end) / 2;
    begin = end;
  }
  return found;
}

/** Metrics of predicted numbers. */
export function regressionMetrics(
  labels: readonly number[],
  predictions: readonly number[],
): RegressionMetrics {
  const errors = labels.map((label, i) => predictions[i] - label), { length } = labels;
  return {
    mse: sumOf(errors.map((error) => error ** 2)) / length,
    mae: sumOf(errors.map(Math.abs)) / length,
    pearson: pearson(labels, predictions),
    spearman: pearson(ranks(labels), ranks(predictions)),
  };
}
