/**
 * Positions in what is numbered by Redis: `<epoch>-<number>`. An epoch is when a numbering began, in microseconds.
 */

/** A position. Numbers begin with 1; 0 is before the first one. */
export interface Position {
  readonly epoch: number
  readonly number: number
}

const pattern = /^([1-9]\d{0,15})-(0|[1-9]\d{0,15})$/

/** Reads a position; `undefined` where that is none, or not written as one. */
export const parsePosition = (text: string): Position | undefined => {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const epoch = Number(match[1])
  const number = Number(match[2])
  return Number.isSafeInteger(epoch) && Number.isSafeInteger(number) ? { epoch, number } : undefined
}

/** Writes a position. */
export const printPosition = ({ epoch, number }: Position): string => `${epoch}-${number}`

/** Whether a position comes after another one: in another epoch, when that began later. */
export const isAfter = (self: Position, that: Position): boolean =>
  self.epoch === that.epoch ? self.number > that.number : self.epoch > that.epoch

/**
 * Whether what has just been published comes after a position. It comes in the order in which Redis published it, so that
 * another epoch is a newer one, even where the clock of Redis was put back.
 */
export const isNews = (published: Position, that: Position): boolean =>
  published.epoch !== that.epoch || published.number > that.number
