// What a call of a function or an operator costs, charged before it is made: how the time that it takes grows with its arguments.
import { type CelValue, isCelList as isList, isCelMap as isMap } from '@bufbuild/cel';
import { CHARACTERS_PER_STEP, type Scales, weigh } from './scales.ts';

/** Of any call: finding the overload by the types of its arguments. */
const CALL_STEPS = 4;
/** A search may compare every character of the text with every one of what it looks for; so many comparisons are one step. */
const COMPARISONS_PER_STEP = 1_024;

/** Making a timestamp or a duration. */
const TIME_STEPS = 32;
/** A function that fails makes an error of JavaScript, with its stack. */
const FAILURE_STEPS = 150;

export function chargeFailedCall({ meter }: Scales): void {
  meter.charge(FAILURE_STEPS);
}

/** @param id The name that the parser gives it. */
export function chargeCall(scales: Scales, id: string, operands: readonly CelValue[]): void {
  scales.meter.charge(CALL_STEPS);
  const [first = null, second = null, third = null] = operands;
  switch (id) {
    case 'type':
    case 'dyn':
      return;
    case 'timestamp':
    case 'duration':
      scales.meter.charge(TIME_STEPS);
      chargeWeights(scales, operands);
      return;
    case 'size':
      // Characters are counted one by one.
      if (typeof first === 'string') scales.meter.charge(first.length / 4);
      return;
    case '_==_':
    case '_!=_':
    case '_<_':
    case '_<=_':
    case '_>_':
    case '_>=_':
      chargeComparison(scales, first, second);
      return;
    case '@in':
      if (isMap(second)) scales.meter.charge(typeof first === 'string' ? 1 : second.size);
      else scales.meter.charge(weigh(scales, second));
      return;
    case '_+_':
      if (isList(first) && isList(second)) scales.meter.charge(first.size + second.size);
      else chargeWeights(scales, operands);
      return;
    case 'contains':
    case 'indexOf':
    case 'lastIndexOf':
      chargeSearch(scales, first, second);
      return;
    case 'split':
      chargeSearch(scales, first, second);
      if (typeof first === 'string') scales.meter.charge(first.length);
      return;
    case 'replace':
      chargeSearch(scales, first, second);
      if (typeof first === 'string' && typeof third === 'string') chargeReplacements(scales, first, second, third);
      return;
    case 'lowerAscii':
    case 'upperAscii':
    case 'trim':
      if (typeof first === 'string') scales.meter.charge(first.length);
      return;
    case 'fromJSON':
      // Each of them may be a value, or a level.
      scales.meter.charge(lengthOf(first));
      return;
    case 'toJSON':
      scales.meter.charge(2 * weigh(scales, first));
      return;
    case 'join':
      scales.meter.charge(weigh(scales, first));
      if (isList(first)) scales.meter.charge((first.size * lengthOf(second)) / CHARACTERS_PER_STEP);
      return;
    default:
      chargeWeights(scales, operands);
  }
}

function chargeWeights(scales: Scales, operands: readonly CelValue[]): void {
  for (const operand of operands) scales.meter.charge(weigh(scales, operand));
}

/** The smaller one decides: nothing is compared with what is not there. */
function chargeComparison(scales: Scales, left: CelValue, right: CelValue): void {
  if ((isList(left) && isList(right)) || (isMap(left) && isMap(right))) {
    if (left.size === right.size) scales.meter.charge(Math.min(weigh(scales, left), weigh(scales, right)));
  } else if (isText(left) && isText(right)) {
    scales.meter.charge(Math.min(left.length, right.length) / CHARACTERS_PER_STEP);
  } else if (isTime(left) && isTime(right)) {
    chargeWeights(scales, [left, right]);
  }
}

function chargeSearch({ meter }: Scales, text: CelValue, sought: CelValue): void {
  const length = lengthOf(text);
  meter.charge(length / CHARACTERS_PER_STEP + (length * lengthOf(sought)) / COMPARISONS_PER_STEP);
}

function chargeReplacements({ meter }: Scales, text: string, part: CelValue, by: string): void {
  if (typeof part !== 'string') return;
  meter.charge(text.length);
  const times = text.split(part).length;
  meter.charge(times + (times * by.length) / CHARACTERS_PER_STEP);
}

function lengthOf(value: CelValue): number {
  return isText(value) ? value.length : 0;
}

function isTime(value: CelValue): boolean {
  return typeof value === 'object' && !isText(value) && !isList(value) && !isMap(value);
}

function isText(value: CelValue): value is string | Uint8Array {
  return typeof value === 'string' || value instanceof Uint8Array;
}
