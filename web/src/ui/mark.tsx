import mill from "../mill.svg";

/** The sign of Rowmill, beside its name. */
export function Mark({ size = 28 }: { size?: number }) {
  return <img src={mill} alt="" width={size} height={size} />;
}
