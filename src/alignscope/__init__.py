"""alignscope: does a vision-language model hear whole meaning, or only nouns?"""

__version__ = "0.1.0"
