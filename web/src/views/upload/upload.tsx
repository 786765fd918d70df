/** Files on their way in: chosen, described as far as need be, sent, and where a file makes its dataset, looked over. */

import { route } from "../../router";
import { Draft } from "./draft";
import { items } from "./queue";
import { Review } from "./review";
import { Queue } from "./sending";
import { Unfinished } from "./unfinished";
import "./upload.css";

export default function Upload() {
  const { query } = route.value;
  const review = query.get("review");
  if (review) return <Review key={review} id={review} />;
  return (
    <div class="view upload">
      <h1>Upload</h1>
      {items.value.length > 0 && <Queue />}
      <Unfinished />
      <Draft dataset={query.get("dataset")} />
    </div>
  );
}
