/**
 * Instants as text. Lists are full of them, and what the platform makes of one takes longer than all that is written around it.
 */

const millisPerDay = 86_400_000

/** Of the years that have four digits. */
const first = -719_528
const last = 2_932_896

const zero = 48

/**
 * What `toISOString` says of so many milliseconds since 1970; `undefined` where it says something longer, or nothing. Days are
 * counted from the first of March of the year 0, so that a leap day is the last one of its year.
 */
export const isoOf = (millis: number): string | undefined => {
  const days = Math.floor(millis / millisPerDay)
  if (!(days >= first && days <= last && Number.isInteger(millis))) return undefined
  const march = days + 719_468
  const era = Math.floor(march / 146_097)
  const dayOfEra = march - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365
  )
  const dayOfYear = dayOfEra - 365 * yearOfEra - Math.floor(yearOfEra / 4) + Math.floor(yearOfEra / 100)
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const time = millis - days * millisPerDay
  const seconds = Math.floor(time / 1000)
  const minutes = Math.floor(seconds / 60)
  const hour = Math.floor(minutes / 60)
  const minute = minutes - hour * 60
  const second = seconds - minutes * 60
  const milli = time - seconds * 1000
  return String.fromCharCode(
    zero + Math.floor(year / 1000),
    zero + Math.floor(year / 100) % 10,
    zero + Math.floor(year / 10) % 10,
    zero + year % 10,
    45,
    zero + Math.floor(month / 10),
    zero + month % 10,
    45,
    zero + Math.floor(day / 10),
    zero + day % 10,
    84,
    zero + Math.floor(hour / 10),
    zero + hour % 10,
    58,
    zero + Math.floor(minute / 10),
    zero + minute % 10,
    58,
    zero + Math.floor(second / 10),
    zero + second % 10,
    46,
    zero + Math.floor(milli / 100),
    zero + Math.floor(milli / 10) % 10,
    zero + milli % 10,
    90
  )
}
