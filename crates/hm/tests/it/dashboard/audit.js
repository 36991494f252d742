// What can be said of any page without knowing it. Each function tells what is wrong, in a list.

// A colour as it is drawn: red, green, blue and how much covers, each from 0 to 1.
const drawn = (() => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pencil = canvas.getContext('2d', { willReadFrequently: true });
  return (colour) => {
    pencil.clearRect(0, 0, 1, 1);
    pencil.fillStyle = colour;
    pencil.fillRect(0, 0, 1, 1);
    return Array.from(pencil.getImageData(0, 0, 1, 1).data, (part) => part / 255);
  };
})();

const over = (front, back) => [0, 1, 2].map((at) => front[at] * front[3] + back[at] * (1 - front[3])).concat(1);

const luminance = (colour) => {
  const [r, g, b] = colour.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};

const ratio = (one, other) => {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};

// What is behind an element: the backgrounds of what it is in, and in a picture the shape beside it.
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.push(drawn(getComputedStyle(at).backgroundColor));
    const shape = at.ownerSVGElement && at.parentElement.querySelector(':scope > rect');
    if (shape) layers.push(drawn(getComputedStyle(shape).fill));
  }
  return layers.reverse().reduce((back, front) => over(front, back), [1, 1, 1, 1]);
};

// Text that is hard to read: less than 4.5 to 1, or 3 to 1 where it is large.
const faint = () => {
  // What beats is judged as it is at rest.
  for (const animation of document.getAnimations()) animation.cancel();
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || ['SCRIPT', 'STYLE', 'TEMPLATE', 'NOSCRIPT', 'TITLE'].includes(element.tagName)) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(':disabled, [aria-hidden=true]')) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const ink = drawn(element.ownerSVGElement ? style.fill : style.color);
    for (let at = element; at; at = at.parentElement) ink[3] *= parseFloat(getComputedStyle(at).opacity);
    const back = behind(element);
    const found_ratio = ratio(over(ink, back), back);
    if (found_ratio < (large ? 3 : 4.5)) {
      found.push(`${found_ratio.toFixed(2)}: ${element.tagName}.${element.getAttribute('class')} "${text.slice(0, 30)}"`);
    }
  }
  return found;
};

// What makes the page scroll sideways, where it does.
const wide = () => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= innerWidth) return [];
  const culprits = Array.from(document.body.querySelectorAll('*')).filter((element) => {
    const inside = element.parentElement.closest('pre, .scroll, [data-scroll]');
    return !inside && element.getBoundingClientRect().right > innerWidth + 1;
  });
  const names = culprits.slice(-5).map((element) => `${element.tagName}.${element.className}`);
  return [`${page.scrollWidth} > ${innerWidth}: ${names.join(', ')}`];
};

// What is too small for a finger.
const small = () => Array.from(document.querySelectorAll('button, input, select, summary, nav a'))
  .filter((element) => element.checkVisibility())
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([, box]) => box.height < 24 || box.width < 24)
  .map(([element, box]) => `${box.width}x${box.height}: ${element.outerHTML.slice(0, 80)}`);

// Language, title, and headings that leave no level out.
const outline = () => {
  const wrong = [];
  if (!document.documentElement.lang) wrong.push('no language');
  if (!document.title.trim()) wrong.push('no title');
  if (!document.querySelector('main')) wrong.push('no main part');
  const levels = Array.from(document.querySelectorAll('h1, h2, h3, h4, h5, h6'))
    .filter((heading) => heading.checkVisibility())
    .map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) wrong.push(`headings: ${levels}`);
  levels.reduce((before, level) => {
    if (level > before + 1) wrong.push(`a heading of level ${level} after ${before}`);
    return level;
  }, 0);
  const ids = Array.from(document.querySelectorAll('[id]'), (element) => element.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  if (twice.length) wrong.push(`the same id twice: ${twice}`);
  return wrong;
};

return { faint: faint(), wide: wide(), small: small(), outline: outline() };
