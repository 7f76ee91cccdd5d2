export const greeting = (name) => `Good day, ${name}!`;
