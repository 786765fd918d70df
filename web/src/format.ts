/** Numbers, sizes and times as people read them. */

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function count(n: number): string {
  return NUMBER.format(n);
}

/** `1 row`, `2 rows`. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number): string {
  const power = Math.min(UNITS.length - 1, n < 1000 ? 0 : Math.floor(Math.log10(n) / 3));
  return `${SHORT.format(n / 1000 ** power)} ${UNITS[power]}`;
}

/** A file's name as it is written: marks that turn letters around would have it look as one of another kind. */
export function legible(name: string): string {
  return name.replace(/\p{Bidi_Control}/gu, "\ufffd");
}

/** A length of time: `0.8 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${SHORT.format(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `5 minutes ago`, and of more than a week the day. */
export function ago(moment: string, now = Date.now()): string {
  const seconds = (Date.parse(moment) - now) / 1000;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, "second"],
    [3600, "minute"],
    [86_400, "hour"],
    [604_800, "day"],
  ];
  for (const [place, [limit, unit]] of steps.entries()) {
    if (Math.abs(seconds) < limit) return AGO.format(Math.round(seconds / (place ? steps[place - 1]![0] : 1)), unit);
  }
  return DAY.format(Date.parse(moment));
}

/** The whole moment, in the reader's time zone. */
export function exactly(moment: string): string {
  return MOMENT.format(Date.parse(moment));
}
