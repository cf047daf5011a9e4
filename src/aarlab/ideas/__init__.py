"""What a fleet is thinking about: into which families its ideas fall, how many it keeps alive, how complex they are.

    families.py     the eleven families of the 2026 study, who classed an idea, and what a language model is asked
    code.py         rules that read a method file
    words.py        rules that read a post
    gather.py       the ideas of a run from its submissions and posts
    entropy.py      Shannon entropy over the researchers at work, through time, with bands
    complexity.py   lines and syntax-tree nodes of a method

No score depends on anything here.
"""
