"""The reference table: every method of `aarlab.w2s.methods` on every task of the shipped problems.

    plan      what is to be measured: problems, tasks, methods, seeds, student
    cache     what was measured before, one file per method and task; a changed method has another file
    measure   one method, one task, one seed: which test items are judged rightly
    pool      the processes that measure;  progress: what the terminal shows of them
    harness   plan -> cache and pool -> outcomes
    table     outcomes -> PGR, intervals, paired differences;  claims: against what a method's source reports
    page      the table as markdown and as a chart's rows;  write: the files

`aarlab baselines` is its command.
"""
