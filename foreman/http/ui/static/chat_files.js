/** Files beside a prompt: images as base64, texts as a part of the words. */

const FILE = /\n\nFile ([^\n]+):\n(`{3,})\n([\s\S]*?)\n\2(?=\n\nFile |$)/g;
const addresses = [];

/** What can be sent of a file: `{ name, image }` or `{ name, text }`. Throws an Error with what is wrong. */
export async function attached(file, most) {
  if (file.size > most) throw new Error(`${file.name} is larger than can be sent.`);
  if (/^image\/(png|jpeg|gif|webp|bmp)$/.test(file.type)) return { name: file.name, size: file.size, type: file.type, image: await base64(file) };
  if (/^(image|audio|video)\//.test(file.type)) throw new Error(`${file.name}: images can be PNG, JPEG, GIF, WebP or BMP; sound and film cannot be sent.`);
  const bytes = await file.arrayBuffer();
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return { name: file.name, size: file.size, text };
  } catch {
    // it is no text
  }
  throw new Error(`${file.name} is neither an image nor a text file.`);
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

/** The message of a user. */
export function message(text, files) {
  const images = files.filter((one) => one.image).map((one) => one.image);
  const texts = files.filter((one) => one.text !== undefined).map(({ name, text: inside }) => {
    const fence = "`".repeat(Math.max(3, ...[...inside.matchAll(/`+/g)].map(([found]) => found.length + 1)));
    return `\n\nFile ${name.replace(/\s+/g, " ")}:\n${fence}\n${inside}\n${fence}`;
  });
  return { role: "user", content: text + texts.join(""), ...(images.length ? { images } : {}) };
}

/** The same back: `{ text, files }`. */
export function apart({ content, images = [] }) {
  const files = [...content.matchAll(FILE)].map(([, name, , text]) => ({ name, text, size: new Blob([text]).size }));
  const pictures = images.map((image, place) => ({ name: `image ${place + 1}`, image, size: Math.floor((image.length * 3) / 4) }));
  return { text: content.replace(FILE, ""), files: [...pictures, ...files] };
}

/** An image's address in this view; `forgetShown` ends all of them. */
export function shown(base) {
  const bytes = Uint8Array.from(atob(base), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes]));
  addresses.push(address);
  return address;
}

export function forgetShown() {
  addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
}
