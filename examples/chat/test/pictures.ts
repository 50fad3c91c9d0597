/**
 * Pictures of tabs side by side, for the READMEs. `npm run screenshots` writes them; any other run leaves those that there are, and
 * only sees that there is something to see.
 */
import { assert } from "@effect/vitest"
import { mkdirSync, writeFileSync } from "node:fs"
import type { Page } from "playwright-core"

const folder = new URL("../screenshots/", import.meta.url)
const isKept = !["", "0", "false"].includes(process.env["SCREENSHOTS"] ?? "")

/** A page on which there is nothing has fewer bytes as a picture. */
const blank = 10_000

/** Takes a picture of some tabs. */
export const takePicture = async (name: string, ...tabs: ReadonlyArray<Page>): Promise<void> => {
  const pictures: Array<Buffer> = []
  for (const tab of tabs) {
    await tab.bringToFront()
    // It is over nothing that would show it.
    await tab.mouse.move(0, 0)
    pictures.push(await tab.screenshot({ caret: "hide", animations: "disabled" }))
  }
  for (const picture of pictures) assert.isAbove(picture.length, blank, `there is nothing to see of "${name}"`)
  if (!isKept) return

  const images = pictures.map((picture) => `<img src="data:image/png;base64,${picture.toString("base64")}">`)
  const board = await tabs[0]!.context().newPage()
  await board.setContent(`<style>
    body { margin: 0 }
    main { display: inline-flex; gap: 16px; padding: 16px; background: #d9dce3 }
    img { display: block; width: ${tabs[0]!.viewportSize()!.width}px; border-radius: 12px }
  </style><main>${images.join("")}</main>`)
  await board.setViewportSize({ width: 1200, height: 900 })
  mkdirSync(folder, { recursive: true })
  writeFileSync(new URL(`${name}.png`, folder), await board.locator("main").screenshot())
  await board.close()
}
