// The page of an audit: what was found, and the review of its suspicious rows.

import { addTabs, byId, selectTab } from "./dom.js";
import { Review } from "./review.js";

const review = (globalThis.token2waveReview = new Review());
review.open(JSON.parse(byId("audit").textContent));
addTabs();

function startReview(pair) {
  byId("review-pair").value = pair;
  review.filter();
  selectTab("review");
  review.list.focus();
}

for (const button of document.querySelectorAll("[data-pair]")) {
  button.addEventListener("click", () => startReview(button.dataset.pair));
}
if (location.hash === "#review") selectTab("review");
