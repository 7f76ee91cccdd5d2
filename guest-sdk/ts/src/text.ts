/** Text as UTF-8, which the small engine has nothing for. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code < 0x80) {
      bytes.push(code);
    } else if (code < 0x800) {
      bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      // A lone surrogate has no form there.
      const unit = code >= 0xd800 && code < 0xe000 ? 0xfffd : code;
      bytes.push(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f));
    } else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    }
  }
  return Uint8Array.from(bytes);
}

/** UTF-8 as text; what is not UTF-8 becomes the replacement character. */
export function decodeUtf8(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
    let code = more <= 0 ? first : first & (0x3f >> more);
    let read = 0;
    while (read < more && ((bytes[at + 1 + read] ?? 0) & 0xc0) === 0x80) {
      code = (code << 6) | (bytes[at + 1 + read]! & 0x3f);
      read += 1;
    }
    const least = [0, 0x80, 0x800, 0x10000][Math.max(more, 0)]!;
    const isWhole = more >= 0 && read === more && code >= least && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000);
    text += isWhole ? String.fromCodePoint(code) : "\ufffd";
    at += isWhole ? 1 + more : Math.max(1, read);
  }
  return text;
}
