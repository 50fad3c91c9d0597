/**
 * Tests of pages in a real browser, see `describePages`.
 */
import type { Page } from "playwright-core"

export { describePages, watch } from "../../packages/node/test/support/browser.ts"

/** Clicks a button, as people do: in the tab that they look at. */
export const click = async (page: Page, name: string): Promise<void> => {
  await page.bringToFront()
  await page.getByRole("button", { name, exact: true }).click()
}

/** The newest entry of a page's log, once its title begins so. */
export const newest = async (page: Page, title: string): Promise<string> => {
  const entry = page.locator("#log > article:first-child").filter({ has: page.getByRole("heading", { name: title }) })
  await entry.waitFor()
  return entry.innerText()
}
