// Display formats of numbers and times.

const whole = new Intl.NumberFormat("en-US");
const precise = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const score = new Intl.NumberFormat("en-US", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat("en-US", { style: "percent", maximumFractionDigits: 0 });
const day = new Intl.DateTimeFormat("en-US", { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-US", { timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat("en-US", { numeric: "auto" });

const UNITS = [["second", 60], ["minute", 60], ["hour", 24], ["day", Infinity]];

export const asWhole = (number) => whole.format(number);
export const asNumber = (number) => precise.format(number);
export const asScore = (number) => score.format(number);
export const asPercent = (share) => percent.format(share);
export const asClock = (seconds) => clock.format(new Date(1000 * seconds));

/** Return a number of things, such as "1 interaction" or "3 interactions". */
export function counted(number, noun) {
  return `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return a duration in its largest unit, such as "3 hours". */
export function asDuration(seconds) {
  let amount = Math.max(0, seconds);
  for (const [unit, size] of UNITS) {
    if (amount < size) return counted(Math.floor(amount), unit);
    amount /= size;
  }
  return "";
}

/** Return the day of a time, or how long ago it was if it was in the last 24 hours. */
export function asTime(seconds) {
  const ago = Date.now() / 1000 - seconds;
  if (ago < -60) return day.format(new Date(1000 * seconds)); // events may have a time in the future
  if (ago < 60) return "just now";
  if (ago < 3600) return relative.format(-Math.floor(ago / 60), "minute");
  if (ago < 86400) return relative.format(-Math.floor(ago / 3600), "hour");
  return day.format(new Date(1000 * seconds));
}
