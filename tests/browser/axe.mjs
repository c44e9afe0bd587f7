// Looks at a page as its users do: light and dark, on a desktop and on a phone. Each look is a screenshot, has no
// violation of axe-core's rules, and does not scroll sideways. `summary.failures` collects what is wrong.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const source = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const SCHEMES = ["light", "dark"];
const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

export const summary = { looks: 0, passes: 0, failures: [], toReview: new Map() };

export async function look(page, name, screenshot) {
  for (const [device, size] of Object.entries(SIZES)) {
    await page.setViewportSize(size);
    for (const scheme of SCHEMES) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      const label = `${name}-${scheme}-${device}`;
      await screenshot(page, label, { fullPage: true });
      // The inspector evaluates this, so the page's policy against inline scripts does not apply.
      await page.evaluate(source);
      const { passes, violations, incomplete } = await page.evaluate(runAxe);
      const describe = ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`;
      summary.failures.push(...violations.map((violation) => `${label}: ${describe(violation)}`));
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (overflow > 0) summary.failures.push(`${label} scrolls sideways by ${overflow} px`);
      summary.looks += 1;
      summary.passes += passes.length;
      for (const { id } of incomplete) summary.toReview.set(id, (summary.toReview.get(id) ?? 0) + 1);
    }
  }
  await page.setViewportSize(SIZES.desktop);
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

// axe-core does not judge the contrast on a gradient, so the page is judged on each of its colours.
async function runAxe() {
  const { style } = document.body;
  const colours = getComputedStyle(document.body).backgroundImage.match(/rgba?\([^)]+\)/g) ?? [""];
  const results = [];
  for (const [index, colour] of colours.entries()) {
    style.background = colour;
    results.push(await axe.run(index === 0 ? {} : { runOnly: ["color-contrast"] }));
  }
  style.background = "";
  const all = (kind) => results.flatMap((result) => result[kind]);
  return { passes: all("passes"), violations: all("violations"), incomplete: all("incomplete") };
}
