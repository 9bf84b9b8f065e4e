"""A page on which captions are typed: answers, pictures, the server."""
