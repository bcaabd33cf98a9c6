"""What is minimized: objectives, regularization, and the half-problems that half-steps solve.

All methods minimize

    J =  Σ_(u,i)∈Ω  w_ui · (t_ui − μ − b_u − b_i − p_u·q_i)²
       + Σ_(u,i)∉Ω  s_u · m_i · (p_u·q_i)²
       + Σ_u λ_u (‖p_u‖² + ρ b_u²) + Σ_i λ_i (‖q_i‖² + ρ b_i²)

Ω is the set of observed cells: those that are stored, regardless of their values. Every published variant of ALS is a
setting of the arrays t, w, s, m and λ.
"""
