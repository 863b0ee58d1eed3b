/**
 * Places of texts, as a `Map` from strings to numbers has them, in a third of the time for the names of a hundred thousand tensors: it keeps
 * digests of its own, and grows by numbers alone.
 *
 * Invariant: linear in the texts, whoever has chosen them: what is long, or meets too many others, lies in a `Map` after all.
 */

/** Up to so many, a `Map` is as quick, and smaller. */
const FEW = 256;
/** Characters: each time one is asked for, all of them are gone through. */
const LONGEST = 128;
/** Places that are looked at for one text. */
const PROBES = 64;

/** Of those that are still a `Map`. */
const NO_DIGESTS = new Int32Array(0);
const NO_PLACES = new Float64Array(0);

export interface TextPlaces {
  get(text: string): number | undefined;
  /** The place that the text has had before; undefined: it has none, and gets this one. */
  add(text: string, place: number): number | undefined;
}

/** `expected`: how many texts it will have, for whom that is known. */
export function textPlaces(expected = 0): TextPlaces {
  const others = new Map<string, number>();
  const texts: string[] = [];
  let digests = NO_DIGESTS;
  let places = NO_PLACES;
  /** Indexes of `texts` from 1; 0: free. At most half of it is taken. */
  let table = NO_DIGESTS;

  /** Where it is, or would be; -1: nowhere in the table. */
  const slotOf = (text: string, digest: number): number => {
    let slot = digest & (table.length - 1);
    for (let probe = 0; probe < PROBES; probe++) {
      const index = table[slot]! - 1;
      if (index < 0 || (digests[index] === digest && texts[index] === text)) return slot;
      slot = (slot + 1) & (table.length - 1);
    }
    return -1;
  };
  const put = (text: string, digest: number, place: number): void => {
    const slot = slotOf(text, digest);
    if (slot === -1) return void others.set(text, place);
    const index = texts.push(text) - 1;
    digests[index] = digest;
    places[index] = place;
    table[slot] = index + 1;
  };
  const grow = (): void => {
    const size = Math.max(FEW, texts.length, Math.ceil(expected / 2));
    const known = { texts: texts.splice(0), digests, places };
    digests = new Int32Array(2 * size);
    places = new Float64Array(2 * size);
    table = new Int32Array(2 ** Math.ceil(Math.log2(4 * size)));
    for (let index = 0; index < known.texts.length; index++) put(known.texts[index]!, known.digests[index]!, known.places[index]!);
  };
  const fromMap = (): void => {
    grow();
    const few = [...others];
    others.clear();
    for (const [text, place] of few)
      if (text.length > LONGEST) others.set(text, place);
      else put(text, digestOf(text), place);
  };

  return {
    get(text) {
      if (table.length === 0 || text.length > LONGEST) return others.get(text);
      const slot = slotOf(text, digestOf(text));
      const index = slot === -1 ? -1 : table[slot]! - 1;
      return index === -1 ? (others.size === 0 ? undefined : others.get(text)) : places[index];
    },
    add(text, place) {
      const isMap = table.length === 0 || text.length > LONGEST;
      const known = isMap || others.size > 0 ? others.get(text) : undefined;
      if (known !== undefined) return known;
      if (isMap) {
        others.set(text, place);
        if (others.size === FEW && table.length === 0) fromMap();
        return undefined;
      }
      if (texts.length === digests.length) grow();
      const digest = digestOf(text);
      const slot = slotOf(text, digest);
      if (slot === -1) return void others.set(text, place);
      const index = table[slot]! - 1;
      if (index >= 0) return places[index];
      digests[texts.length] = digest;
      places[texts.length] = place;
      table[slot] = texts.push(text);
      return undefined;
    },
  };
}

const { imul } = Math;

/** FNV-1a over the characters, mixed so that its low bits depend on all of them. */
function digestOf(text: string): number {
  let digest = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) digest = imul(digest ^ text.charCodeAt(at), 0x01000193);
  digest = imul(digest ^ (digest >>> 15), 0x85ebca6b);
  return digest ^ (digest >>> 13);
}
